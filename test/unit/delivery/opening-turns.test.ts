import { expect, it } from 'vitest';
import { OPENINGS_A_TURN, OpeningTurns } from '../../../src/delivery/opening-turns.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Begins openings by tenant, and gives the tenants in the order of their turns. */
function opened(turns: OpeningTurns, tenants: string): string[] {
  const order: string[] = [];
  for (const tenant of tenants) {
    const later = turns.next(tenant);
    if (later) void later.then(() => order.push(tenant));
    else order.push(tenant);
  }
  return order;
}

it('begins a few openings in each turn of the event loop, and all in the end', async () => {
  const order = opened(new OpeningTurns(), 'a'.repeat(3 * OPENINGS_A_TURN + 1));
  const counts: number[] = [order.length];
  while (order.length < 3 * OPENINGS_A_TURN + 1) {
    await turn();
    counts.push(order.length);
  }
  expect(counts).toEqual([4, 8, 12, 13]);
});

it('serves tenants in turn', async () => {
  const turns = new OpeningTurns();
  const order = opened(turns, 'aaaaaaaaaabc');
  await turn();
  expect(order.join('')).toBe('aaaa' + 'abca');
});

it('lets an opening begin at once when nothing waits', async () => {
  const turns = new OpeningTurns();
  opened(turns, 'aaaaaa');
  await turn();
  await turn();
  expect(turns.next('b')).toBeNull();
});
