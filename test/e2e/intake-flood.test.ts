import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { type BuiltService, startBuiltService } from '../support/built-service.js';
import { createDatabase } from '../support/database.js';
import { memoryGrowth } from '../support/memory-growth.js';
import type { Answer, Client } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** Together several times what the intake holds at once (64 MiB). */
const EVENTS = 2_000;
const PAYLOAD_BYTES = 64 * 1024;
/** What may wait, once as it came and once on its way to Postgres, and what a busy process takes beside. */
const MAX_GROWTH_MIB = 280;
const ENV = {
  TENANT_RATE_LIMIT: '1000000',
  TENANT_RATE_BURST: '1000000',
  LEASE_SECONDS: '2',
  DELIVERY_TIMEOUT_MS: '1000',
};

let database: Awaited<ReturnType<typeof createDatabase>>;
let simulator: Simulator;
let posthorn: BuiltService;
let postgres: pg.Client;

beforeEach(async () => {
  simulator = await startSimulator({ maxRecords: 2 * EVENTS });
  database = await createDatabase();
  posthorn = await startBuiltService({ databaseUrl: database.url, env: ENV });
  postgres = new pg.Client({ connectionString: database.url });
  await postgres.connect();
});
afterEach(async () => {
  await postgres.end();
  await posthorn.stop();
  await database.drop();
  await simulator.close();
});

const keyOf = (number: number): string => `flood-${number}`;

const send = (tenant: Client, number: number): Promise<Answer> =>
  tenant.request('POST', '/events', {
    event_type: 'flood',
    payload: { number, filling: 'x'.repeat(PAYLOAD_BYTES) },
    idempotency_key: keyOf(number),
  });

const waitsForALock = async (): Promise<boolean> => {
  const { rows } = await postgres.query(
    `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return rows.length > 0;
};

it('refuses what it cannot hold while Postgres stalls, and delivers all that it accepted, even after kill -9', async () => {
  const tenant = await posthorn.tenant();
  const { body: subscription } = await tenant.request('POST', '/subscriptions', {
    target_url: `${simulator.url}/ok/kept`,
  });
  await tenant.request('PATCH', `/subscriptions/${subscription.id as string}`, { is_active: false });
  expect((await send(tenant, -1)).body.deliveries).toBe(0);
  await tenant.request('PATCH', `/subscriptions/${subscription.id as string}`, { is_active: true });
  await waitFor(async () => (await send(tenant, -2)).body.deliveries === 1, { what: 'the subscription' });

  let answers: Answer[] = [];
  const growth = await memoryGrowth(posthorn.pid, async () => {
    await postgres.query('begin; lock table event in access exclusive mode');
    const flood = Array.from({ length: EVENTS }, (_, number) => send(tenant, number));
    await waitFor(waitsForALock, { what: 'the intake to stall' });
    await Promise.race(
      flood.map(async (answer) => ((await answer).status === 429 ? true : new Promise(() => undefined))),
    );
    await postgres.query('commit');
    answers = await Promise.all(flood);
  });
  await posthorn.kill();

  const accepted = answers.filter(({ status }) => status === 202);
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202, 429]));
  expect(growth).toBeLessThan(MAX_GROWTH_MIB);
  for (const { headers } of answers.filter(({ status }) => status === 429)) {
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
  }

  posthorn = await startBuiltService({ databaseUrl: database.url, env: ENV });
  const arrived = (): Set<string> =>
    new Set(simulator.received.map(({ headers }) => headers['webhook-id'] as string));
  await waitFor(() => accepted.every(({ body }) => arrived().has(body.id as string)), {
    what: 'all that was accepted to arrive',
  });
  // Nothing of what was refused was stored.
  const { rows } = await postgres.query<{ count: number }>(
    `select count(*)::int as count from event where event_type = 'flood' and idempotency_key not in ('flood--1', 'flood--2')`,
  );
  expect(rows[0]!.count).toBe(accepted.length);
});
