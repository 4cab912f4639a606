import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Batcher } from '../../../src/persistence/batcher.js';

/** A flush that records its batches and ends only when told to. */
function heldFlush() {
  const batches: number[][] = [];
  const releases: (() => void)[] = [];
  return {
    batches,
    releaseNext: () => releases.shift()?.(),
    flush: async (items: number[]): Promise<number[]> => {
      batches.push(items);
      await new Promise<void>((resolve) => releases.push(resolve));
      return items.map((item) => item * 10);
    },
  };
}

/** A flush begins in the next turn of the event loop, and its result takes another. */
const settled = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
};

describe('Batcher', () => {
  it('joins what comes at the same time', async () => {
    const batches: number[][] = [];
    const batcher = new Batcher<number, number>({
      flush: (items) => Promise.resolve((batches.push(items), items)),
      maxWeight: 10,
      lingerMs: 1,
    });
    await Promise.all([1, 2, 3].map((item) => batcher.add(item)));
    expect(batches).toEqual([[1, 2, 3]]);
  });

  it('does not wait for company once a batch is full', async () => {
    const { batches, flush, releaseNext } = heldFlush();
    const batcher = new Batcher<number, number>({ flush, maxWeight: 2, lingerMs: 60_000 });
    const results = Promise.all([1, 2].map((item) => batcher.add(item)));
    expect(batches).toEqual([[1, 2]]);
    releaseNext();
    expect(await results).toEqual([10, 20]);
  });

  it('gathers a larger batch while one is being flushed', async () => {
    const { batches, flush, releaseNext } = heldFlush();
    const batcher = new Batcher<number, number>({ flush, maxWeight: 10, lingerMs: 0 });
    const first = batcher.add(1);
    await settled();
    const rest = [2, 3, 4].map((item) => batcher.add(item));
    await settled();
    expect(batches).toEqual([[1]]);
    releaseNext();
    await first;
    await settled();
    expect(batches).toEqual([[1], [2, 3, 4]]);
    releaseNext();
    expect(await Promise.all(rest)).toEqual([20, 30, 40]);
  });

  it('fails all of a batch whose flush throws, and goes on', async () => {
    let fail = true;
    const batcher = new Batcher<number, number>({
      flush: (items) => (fail ? Promise.reject(new Error('no database')) : Promise.resolve(items)),
      maxWeight: 10,
      lingerMs: 0,
    });
    const failed = await Promise.allSettled([batcher.add(1), batcher.add(2)]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    fail = false;
    expect(await batcher.add(3)).toBe(3);
  });

  it('fails one item alone when its result is an Error', async () => {
    const batcher = new Batcher<number, number>({
      flush: (items) => Promise.resolve(items.map((item) => (item === 2 ? new Error('bad item') : item))),
      maxWeight: 10,
      lingerMs: 0,
    });
    const results = await Promise.allSettled([1, 2, 3].map((item) => batcher.add(item)));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('answers each caller with its own result, in batches within the limits', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(), { maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        async (items, maxItems) => {
          let inFlight = 0;
          const batcher = new Batcher<number, number>({
            flush: async (batch) => {
              expect(batch.length).toBeLessThanOrEqual(maxItems);
              expect(++inFlight).toBe(1);
              await new Promise(setImmediate);
              inFlight--;
              return batch.map((item) => item + 1);
            },
            maxWeight: maxItems,
            lingerMs: 0,
          });
          expect(await Promise.all(items.map((item) => batcher.add(item)))).toEqual(
            items.map((item) => item + 1),
          );
        },
      ),
      { numRuns: 50 },
    );
  });
});
