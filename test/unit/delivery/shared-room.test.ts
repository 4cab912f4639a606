import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Grant, PACES, Pace, SharedRoom } from '../../../src/delivery/shared-room.js';

const wish = (amount: number) => (free: number) => (free >= amount ? amount : null);
/** Each of a tenant of its own, unless a name is given. */
let strangers = 0;
const of = (tenant = `stranger ${strangers++}`) => ({ tenant });
const roomOf = (size: number) => new SharedRoom<{ tenant: string }>(size, ({ tenant }) => tenant);
const soon = () => new Promise((resolve) => setImmediate(resolve));

describe('SharedRoom', () => {
  it.each<[Pace, number]>([
    ['slow', 50],
    ['untried', 75],
    ['quick', 100],
  ])('is filled by lanes of pace %s up to %d of 100', async (pace, most) => {
    const room = roomOf(100);
    let taken = 0;
    for (let taker = 0; taker < 200; taker++) void room.take(of(), pace, wish(1)).then(() => taken++);
    await soon();
    expect(taken).toBe(most);
  });

  it('has room for the quick when the slow have taken all that is theirs', async () => {
    const room = roomOf(100);
    for (let taker = 0; taker < 200; taker++) void room.take(of(), 'slow', wish(1));
    expect(await room.take(of(), 'quick', wish(50))).toMatchObject({ amount: 50, pace: 'quick' });
  });

  it('serves a line in the order of coming', async () => {
    const room = roomOf(1);
    const first = await room.take(of(), 'quick', wish(1));
    const order: number[] = [];
    for (const number of [1, 2]) {
      void room.take(of(), 'quick', wish(1)).then((grant) => {
        order.push(number);
        room.giveBack(grant);
      });
    }
    room.giveBack(first);
    await soon();
    expect(order).toEqual([1, 2]);
  });

  it('keeps the place in the line of whoever keeps its pace', async () => {
    const room = roomOf(1);
    const held = await room.take(of(), 'quick', wish(1));
    const order: string[] = [];
    const takers = { a: of(), b: of() };
    for (const name of ['a', 'b'] as const) {
      void room.take(takers[name], 'quick', wish(1)).then((grant) => {
        order.push(name);
        room.giveBack(grant);
      });
    }
    room.changePace(takers.a, 'quick', 'quick');
    room.giveBack(held);
    await soon();
    expect(order).toEqual(['a', 'b']);
  });

  it('lets go in whoever turns out to be quick', async () => {
    const room = roomOf(2);
    await room.take(of(), 'slow', wish(1));
    const taker = of();
    const grant = room.take(taker, 'slow', wish(1));
    room.changePace(taker, 'slow', 'quick');
    expect(await grant).toMatchObject({ amount: 1, pace: 'quick' });
  });

  describe.each(PACES)('among tenants whose lanes are of pace %s', (pace) => {
    /** Those whose names stand in the string, in this order; `order` fills as they are served. */
    function comers(room: SharedRoom<{ tenant: string }>, names: string) {
      const order: string[] = [];
      const grants: Grant[] = [];
      for (const [index, name] of [...names].entries()) {
        void room.take(of(name), pace, wish(1)).then((grant) => {
          order.push(`${name}${index}`);
          grants.push(grant);
        });
      }
      return { order, grants };
    }

    it('goes round, and serves each in the order of coming', async () => {
      const room = roomOf(64);
      const full = await room.take(of('x'), pace, wish(room.shareOf(pace)));
      const { order } = comers(room, 'aaabbc');
      await soon();
      room.giveBack(full);
      await soon();
      expect(order).toEqual(['a0', 'b3', 'c5', 'a1', 'b4', 'a2']);
    });

    it('goes round also when nobody keeps what it gets', async () => {
      const room = roomOf(1);
      const full = await room.take(of('x'), pace, wish(1));
      const { order, grants } = comers(room, 'aaabbc');
      await soon();
      room.giveBack(full);
      for (let served = 0; served < 6; served++) {
        await soon();
        room.giveBack(grants[served]!);
      }
      expect(order).toEqual(['a0', 'b3', 'c5', 'a1', 'b4', 'a2']);
    });

    it('gives what becomes free to the one that has least', async () => {
      const room = roomOf(64);
      const held = comers(room, 'a'.repeat(100));
      const { grants } = comers(room, 'x'.repeat(100));
      await soon();
      const later = comers(room, 'bbb');
      await soon();
      // Whatever is left beside the others, each place that they give back goes to the third.
      while (later.order.length < 3) {
        const had = later.order.length;
        for (const from of [held.grants, grants]) room.giveBack(from.shift()!);
        await soon();
        expect(later.order.length).toBeGreaterThan(had);
      }
    });

    it('leaves some to those who have nothing, however much one wants', async () => {
      const room = roomOf(64);
      const most = room.shareOf(pace);
      const { order, grants } = comers(room, 'a'.repeat(100));
      await soon();
      expect(order).toHaveLength((most * 7) / 8);
      const others = comers(room, 'bc');
      await soon();
      expect(others.order).toEqual(['b0', 'c1']);
      // And no place is kept from it that it may have.
      while (grants.length > 0) {
        room.giveBack(grants.shift()!);
        await soon();
      }
      expect(order).toHaveLength(100);
    });
  });

  it('sends away whoever waits and whoever comes, once closed', async () => {
    const room = roomOf(1);
    await room.take(of(), 'quick', wish(1));
    const waiting = room.take(of(), 'quick', wish(1));
    room.close();
    expect((await waiting).amount).toBe(0);
    expect((await room.take(of(), 'quick', wish(1))).amount).toBe(0);
  });

  it('never gives out more than there is, and grants everything in the end', async () => {
    const takers = fc.array(
      fc.record({
        tenant: fc.constantFrom('a', 'b', 'c'),
        pace: fc.constantFrom(...PACES),
        amount: fc.integer({ min: 1, max: 8 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(takers, async (wishes) => {
        const room = roomOf(16);
        const granted = wishes.map(async ({ tenant, pace, amount }) => {
          const grant = await room.take(of(tenant), pace, wish(amount));
          expect(room.filled).toBeLessThanOrEqual(16);
          await soon();
          room.giveBack(grant);
        });
        await Promise.all(granted);
        expect(room.filled).toBe(0);
      }),
    );
  });
});
