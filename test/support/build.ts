import { join } from 'node:path';
import { buildIfStale } from '../../scripts/build-if-stale.js';
import { ROOT } from './markdown.js';

/**
 * The absolute path of dist/src/main.js, built unless it is newer than its sources. Any number of test files may ask
 * at once: one of them builds. Starting a file of dist without asking first may find the one of yesterday.
 */
export async function builtMain(): Promise<string> {
  await buildIfStale();
  return join(ROOT, 'dist/src/main.js');
}
