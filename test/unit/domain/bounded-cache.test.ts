import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { boundedCache } from '../../../src/domain/bounded-cache.js';

afterEach(() => vi.useRealTimers());

it('holds the entries that were used last, and drops one at a time, whatever is done', () => {
  const use = fc.record({ key: fc.integer({ min: 0, max: 9 }).map(String), sets: fc.boolean() });
  fc.assert(
    fc.property(fc.array(use), fc.integer({ min: 1, max: 5 }), (uses, size) => {
      const cache = boundedCache<string>(size);
      let expected: string[] = [];
      for (const { key, sets } of uses) {
        if (sets) cache.set(key, key);
        else cache.get(key);
        if (!sets && !expected.includes(key)) continue;
        expected = [...expected.filter((one) => one !== key), key].slice(-size);
      }
      expect([...cache.rkeys()]).toEqual(expected);
    }),
  );
});

it('takes no memory for entries that are not there', () => {
  const before = process.memoryUsage().heapUsed;
  const caches = Array.from({ length: 100 }, () => boundedCache<string>(1_000_000));
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(caches.length * 100_000);
});

it('lets no entry stay in memory beyond its age, whether it is used or not', () => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  // At 0 the cache would take the time for none.
  vi.advanceTimersByTime(1);
  const cache = boundedCache<string>(10, { maxAgeMs: 1_000 });
  cache.set('used', 'a');
  cache.set('unused', 'b');
  vi.advanceTimersByTime(900);
  expect(cache.get('used')).toBe('a');
  expect(cache.size).toBe(2);
  vi.advanceTimersByTime(101);
  expect(cache.size).toBe(0);
});
