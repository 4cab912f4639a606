import { setTimeout as sleep } from 'node:timers/promises';
import type { Stand } from './stand.js';

const DRAIN_MS = 30_000;

/** Thrown when what arrived is not what was accepted. */
export class CountMismatch extends Error {}

/** Waits for so many arrivals at the sink since it was reset. */
export async function allArrive(stand: Stand, count: number) {
  const result = await stand.sink.call('until', count, DRAIN_MS);
  if (result.arrived < count) {
    throw new CountMismatch(`${result.arrived} of ${count} deliveries arrived within ${DRAIN_MS / 1000} s`);
  }
  return result;
}

/** Waits until nothing of a tenant is open in Postgres. */
export async function allRecorded(stand: Stand, tenantId: string): Promise<void> {
  const deadline = Date.now() + DRAIN_MS;
  for (;;) {
    const { rows } = await stand.database.query<{ open: number }>(
      'select /* bench */ count(*)::int as open from delivery where tenant_id = $1 and next_attempt_at is not null',
      [tenantId],
    );
    if (rows[0]!.open === 0) return;
    if (Date.now() > deadline) throw new CountMismatch(`${rows[0]!.open} deliveries stay open in Postgres`);
    await sleep(50);
  }
}

/** What the sink counted, subscription by subscription: none lost, none twice. */
export async function checkArrivals(stand: Stand, subscriptions: number, accepted: number): Promise<void> {
  const counts = await stand.sink.call('counts');
  for (let number = 0; number < subscriptions; number++) {
    const expected = Math.ceil((accepted - number) / subscriptions);
    const arrived = counts[`/to/${number}`] ?? 0;
    if (arrived !== Math.max(expected, 0)) {
      throw new CountMismatch(
        `/to/${number} got ${arrived} deliveries where ${expected} were accepted for it`,
      );
    }
  }
}

/** The same sums by Postgres' account. */
export async function checkDatabase(stand: Stand, tenantId: string, expected: number): Promise<void> {
  const { rows } = await stand.database.query<Record<string, number>>(
    `select (select count(*)::int from event where tenant_id = $1) as events,
            (select count(*)::int from delivery where tenant_id = $1) as deliveries,
            (select count(*)::int from delivery where tenant_id = $1 and status = 'delivered') as delivered,
            (select count(*)::int from delivery d join delivery_attempt a on a.delivery_id = d.id
             where d.tenant_id = $1) as attempts`,
    [tenantId],
  );
  for (const [name, count] of Object.entries(rows[0]!)) {
    if (count !== expected)
      throw new CountMismatch(`${expected} events were accepted; Postgres has ${count} ${name}`);
  }
}
