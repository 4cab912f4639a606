import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LeastRecentlyUsed } from '../../../src/domain/least-recently-used.js';

it('drops only the entry that was used longest ago', () => {
  const entries = new LeastRecentlyUsed<string, number>(2);
  entries.set('a', 1);
  entries.set('b', 2);
  entries.get('a');
  entries.set('c', 3);
  expect([...entries]).toEqual([
    ['a', 1],
    ['c', 3],
  ]);
});

it('holds the entries that were used last, whatever is done', () => {
  const use = fc.record({ key: fc.integer({ min: 0, max: 9 }), sets: fc.boolean() });
  fc.assert(
    fc.property(fc.array(use), fc.integer({ min: 1, max: 5 }), (uses, size) => {
      const entries = new LeastRecentlyUsed<number, number>(size);
      let expected: number[] = [];
      for (const { key, sets } of uses) {
        if (!sets && !expected.includes(key)) continue;
        expected = [...expected.filter((one) => one !== key), key].slice(-size);
        if (sets) entries.set(key, key);
        else entries.get(key);
      }
      expect([...entries].map(([key]) => key)).toEqual(expected);
    }),
  );
});
