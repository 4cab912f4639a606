/**
 * `node scripts/build.js`, which every npm script that runs compiled code calls first: builds `dist` unless it is
 * newer than its sources.
 */
import './require-node.js';
import process from 'node:process';
import { buildIfStale } from './build-if-stale.js';

/** @type {(text: string) => void} */
const say = (text) => void process.stderr.write(`${text}\n`);

try {
  await buildIfStale({ say });
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}
