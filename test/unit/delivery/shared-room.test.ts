import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PACES, Pace, SharedRoom } from '../../../src/delivery/shared-room.js';

const wish = (amount: number) => (free: number) => (free >= amount ? amount : null);
const soon = () => new Promise((resolve) => setImmediate(resolve));

describe('SharedRoom', () => {
  it.each<[Pace, number]>([
    ['slow', 50],
    ['untried', 75],
    ['quick', 100],
  ])('is filled by lanes of pace %s up to %d of 100', async (pace, most) => {
    const room = new SharedRoom(100);
    let taken = 0;
    for (let taker = 0; taker < 200; taker++) void room.take({}, pace, wish(1)).then(() => taken++);
    await soon();
    expect(taken).toBe(most);
  });

  it('has room for the quick when the slow have taken all that is theirs', async () => {
    const room = new SharedRoom(100);
    for (let taker = 0; taker < 200; taker++) void room.take({}, 'slow', wish(1));
    expect(await room.take({}, 'quick', wish(50))).toEqual({ amount: 50, pace: 'quick' });
  });

  it('serves a line in the order of coming', async () => {
    const room = new SharedRoom(1);
    const first = await room.take({}, 'quick', wish(1));
    const order: number[] = [];
    for (const number of [1, 2]) {
      void room.take({}, 'quick', wish(1)).then((grant) => {
        order.push(number);
        room.giveBack(grant);
      });
    }
    room.giveBack(first);
    await soon();
    expect(order).toEqual([1, 2]);
  });

  it('keeps the place in the line of whoever keeps its pace', async () => {
    const room = new SharedRoom(1);
    const held = await room.take({}, 'quick', wish(1));
    const order: string[] = [];
    const takers = { a: {}, b: {} };
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
    const room = new SharedRoom(2);
    await room.take({}, 'slow', wish(1));
    const taker = {};
    const grant = room.take(taker, 'slow', wish(1));
    room.changePace(taker, 'slow', 'quick');
    expect(await grant).toEqual({ amount: 1, pace: 'quick' });
  });

  it('sends away whoever waits and whoever comes, once closed', async () => {
    const room = new SharedRoom(1);
    await room.take({}, 'quick', wish(1));
    const waiting = room.take({}, 'quick', wish(1));
    room.close();
    expect((await waiting).amount).toBe(0);
    expect((await room.take({}, 'quick', wish(1))).amount).toBe(0);
  });

  it('never gives out more than there is, and grants everything in the end', async () => {
    const takers = fc.array(
      fc.record({ pace: fc.constantFrom(...PACES), amount: fc.integer({ min: 1, max: 8 }) }),
    );
    await fc.assert(
      fc.asyncProperty(takers, async (wishes) => {
        const room = new SharedRoom(16);
        const granted = wishes.map(async ({ pace, amount }) => {
          const grant = await room.take({}, pace, wish(amount));
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
