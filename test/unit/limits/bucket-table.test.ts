import { expect, it } from 'vitest';
import { TokenBucket } from '../../../src/domain/token-bucket.js';
import { BucketTable } from '../../../src/limits/bucket-table.js';

const MAX_KEYS = 100_000;
const rule = { perSecond: 1, burst: 2 };
const names = Array.from({ length: MAX_KEYS }, (_, index) => `key-${index}`);

it('remembers a bucket, and keeps keys apart', () => {
  const table = new BucketTable(TokenBucket);
  table.get('a', rule, 0).take(2);
  expect(table.get('a', rule, 0).take(1).allowed).toBe(false);
  expect(table.get('b', rule, 0).take(1).allowed).toBe(true);
});

it('forgets full buckets first when there are too many', () => {
  const table = new BucketTable(TokenBucket);
  table.get('oldest', rule, 0).take(2);
  for (const name of names) table.get(name, rule, 0);
  expect(table.get('oldest', rule, 0).take(1).allowed).toBe(false);
});

it('forgets the oldest when none is full', () => {
  const table = new BucketTable(TokenBucket);
  for (const name of [...names, 'newest']) table.get(name, rule, 0).take(2);
  expect(table.get(names[0]!, rule, 0).take(1).allowed).toBe(true);
  expect(table.get(names.at(-1)!, rule, 0).take(1).allowed).toBe(false);
});
