import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairSemaphore, type Permits } from '../../../src/delivery/fair-semaphore.js';
import { LATENCY_CLASSES, type LatencyClass } from '../../../src/delivery/latency-class.js';

const request = (amount: number) => (free: number) => (free >= amount ? amount : null);
/** Each of a tenant of its own, unless a name is given. */
let strangers = 0;
const of = (tenant = `stranger ${strangers++}`) => ({ tenant });
const semaphoreOf = (size: number) => new FairSemaphore<{ tenant: string }>(size, ({ tenant }) => tenant);
const soon = () => new Promise((resolve) => setImmediate(resolve));

describe('FairSemaphore', () => {
  it.each<[LatencyClass, number]>([
    ['slow', 50],
    ['unknown', 75],
    ['fast', 100],
  ])('is inUse by lanes of latency %s up to %d of 100', async (latency, most) => {
    const semaphore = semaphoreOf(100);
    let taken = 0;
    for (let holder = 0; holder < 200; holder++)
      void semaphore.acquire(of(), latency, request(1)).then(() => taken++);
    await soon();
    expect(taken).toBe(most);
  });

  it('has permits for the fast when the slow have all that they may have', async () => {
    const semaphore = semaphoreOf(100);
    for (let holder = 0; holder < 200; holder++) void semaphore.acquire(of(), 'slow', request(1));
    expect(await semaphore.acquire(of(), 'fast', request(50))).toMatchObject({ amount: 50, latency: 'fast' });
  });

  it('serves a queue in the order of coming', async () => {
    const semaphore = semaphoreOf(1);
    const first = await semaphore.acquire(of(), 'fast', request(1));
    const order: number[] = [];
    for (const number of [1, 2]) {
      void semaphore.acquire(of(), 'fast', request(1)).then((permits) => {
        order.push(number);
        semaphore.release(permits);
      });
    }
    semaphore.release(first);
    await soon();
    expect(order).toEqual([1, 2]);
  });

  it('keeps the place in the queue of a holder that keeps its class', async () => {
    const semaphore = semaphoreOf(1);
    const held = await semaphore.acquire(of(), 'fast', request(1));
    const order: string[] = [];
    const holders = { a: of(), b: of() };
    for (const name of ['a', 'b'] as const) {
      void semaphore.acquire(holders[name], 'fast', request(1)).then((permits) => {
        order.push(name);
        semaphore.release(permits);
      });
    }
    semaphore.changeClass(holders.a, 'fast', 'fast');
    semaphore.release(held);
    await soon();
    expect(order).toEqual(['a', 'b']);
  });

  it('serves a holder that turns out to be fast', async () => {
    const semaphore = semaphoreOf(2);
    await semaphore.acquire(of(), 'slow', request(1));
    const holder = of();
    const permits = semaphore.acquire(holder, 'slow', request(1));
    semaphore.changeClass(holder, 'slow', 'fast');
    expect(await permits).toMatchObject({ amount: 1, latency: 'fast' });
  });

  describe.each(LATENCY_CLASSES)('among tenants whose lanes are of class %s', (latency) => {
    /** Those whose names stand in the string, in this order; `order` fills as they are served. */
    function comers(semaphore: FairSemaphore<{ tenant: string }>, names: string) {
      const order: string[] = [];
      const granted: Permits[] = [];
      for (const [index, name] of [...names].entries()) {
        void semaphore.acquire(of(name), latency, request(1)).then((permits) => {
          order.push(`${name}${index}`);
          granted.push(permits);
        });
      }
      return { order, granted };
    }

    it('goes round, and serves each in the order of coming', async () => {
      const semaphore = semaphoreOf(64);
      const full = await semaphore.acquire(of('x'), latency, request(semaphore.shareOf(latency)));
      const { order } = comers(semaphore, 'aaabbc');
      await soon();
      semaphore.release(full);
      await soon();
      expect(order).toEqual(['a0', 'b3', 'c5', 'a1', 'b4', 'a2']);
    });

    it('goes round also when each is released at once', async () => {
      const semaphore = semaphoreOf(1);
      const full = await semaphore.acquire(of('x'), latency, request(1));
      const { order, granted } = comers(semaphore, 'aaabbc');
      await soon();
      semaphore.release(full);
      for (let served = 0; served < 6; served++) {
        await soon();
        semaphore.release(granted[served]!);
      }
      expect(order).toEqual(['a0', 'b3', 'c5', 'a1', 'b4', 'a2']);
    });

    it('gives what becomes free to the one that has least', async () => {
      const semaphore = semaphoreOf(64);
      const held = comers(semaphore, 'a'.repeat(100));
      const { granted } = comers(semaphore, 'x'.repeat(100));
      await soon();
      const later = comers(semaphore, 'bbb');
      await soon();
      // Whatever is left beside the others, each permit that they release goes to the third.
      while (later.order.length < 3) {
        const had = later.order.length;
        for (const from of [held.granted, granted]) semaphore.release(from.shift()!);
        await soon();
        expect(later.order.length).toBeGreaterThan(had);
      }
    });

    it('leaves some to tenants that have none, however much one wants', async () => {
      const semaphore = semaphoreOf(64);
      const most = semaphore.shareOf(latency);
      const { order, granted } = comers(semaphore, 'a'.repeat(100));
      await soon();
      expect(order).toHaveLength((most * 7) / 8);
      const others = comers(semaphore, 'bc');
      await soon();
      expect(others.order).toEqual(['b0', 'c1']);
      // And no permit is kept from it that it may have.
      while (granted.length > 0) {
        semaphore.release(granted.shift()!);
        await soon();
      }
      expect(order).toHaveLength(100);
    });
  });

  it('sends away whoever waits and whoever comes, once closed', async () => {
    const semaphore = semaphoreOf(1);
    await semaphore.acquire(of(), 'fast', request(1));
    const waiting = semaphore.acquire(of(), 'fast', request(1));
    semaphore.close();
    expect((await waiting).amount).toBe(0);
    expect((await semaphore.acquire(of(), 'fast', request(1))).amount).toBe(0);
  });

  it('never gives out more than there is, and granted everything in the end', async () => {
    const holders = fc.array(
      fc.record({
        tenant: fc.constantFrom('a', 'b', 'c'),
        latency: fc.constantFrom(...LATENCY_CLASSES),
        amount: fc.integer({ min: 1, max: 8 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(holders, async (wishes) => {
        const semaphore = semaphoreOf(16);
        const granted = wishes.map(async ({ tenant, latency, amount }) => {
          const permits = await semaphore.acquire(of(tenant), latency, request(amount));
          expect(semaphore.inUse).toBeLessThanOrEqual(16);
          await soon();
          semaphore.release(permits);
        });
        await Promise.all(granted);
        expect(semaphore.inUse).toBe(0);
      }),
    );
  });
});
