import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { contract } from '../../src/contract.js';
import { ROOT } from '../support/markdown.js';

it('is what openapi.json says', async () => {
  const committed = readFileSync(join(ROOT, 'openapi.json'), 'utf8');
  expect(committed, 'openapi.json is out of date: run npm run openapi').toBe(await contract());
});
