import { expect, it } from 'vitest';
import { readHops } from '../../../src/domain/hops.js';

it.each<[string | string[] | undefined, number]>([
  [undefined, 0],
  ['', 0],
  ['1', 1],
  [' 8 ', 8],
  ['2, 5, 3', 5],
  [['2', '7'], 7],
  ['-1', 0],
  ['1.5', 0],
  ['many', 0],
  ['many, 4', 4],
  ['999999999', 1_000],
  ['9'.repeat(30), 0],
])('reads %j as %i', (header, hops) => {
  expect(readHops(header)).toBe(hops);
});
