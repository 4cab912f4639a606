import pg from 'pg';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

let simulator: Simulator;
let posthorn: Posthorn;
let database: pg.Pool;
let tenant: TestTenant;

beforeAll(async () => {
  simulator = await startSimulator();
  // No sweep within the time of a test: what comes out was woken.
  posthorn = await startPosthorn({ env: { SWEEP_INTERVAL_SECONDS: '300' } });
  database = new pg.Pool({ connectionString: posthorn.databaseUrl, max: 2 });
});
afterAll(async () => {
  await database.end();
  await posthorn.stop();
  await simulator.close();
});
beforeEach(async () => {
  simulator.clear();
  tenant = await posthorn.tenant();
});

async function subscribe(fields: Record<string, unknown> = {}): Promise<{ id: string; secret: string }> {
  const body = { target_url: `${simulator.url}/ok`, ...fields };
  return (await tenant.request('POST', '/subscriptions', body)).body as { id: string; secret: string };
}

/** Deliveries of one event that nobody has been woken for. */
async function deliveries(subscriptionId: string, count: number, due: 'now' | 'in an hour'): Promise<void> {
  const eventId = uuidV7(Date.now());
  await database.query(
    `insert into event (id, tenant_id, event_id, event_type, payload, delivery_count, received_at)
     values ($1, $2, 'e', 'user.created', '{}', $3, now())`,
    [eventId, tenant.id, count],
  );
  await database.query(
    `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count,
                           next_attempt_at, created_at)
     select gen_random_uuid(), $2, $1, $3, 'user.created', 'retrying', 1, now() + $5::interval, now()
     from generate_series(1, $4)`,
    [eventId, tenant.id, subscriptionId, count, due === 'now' ? '0' : '1 hour'],
  );
}

async function count(where: string, subscriptionId: string): Promise<number> {
  const { rows } = await database.query<{ count: number }>(
    `select count(*)::int as count from delivery where subscription_id = $1 and ${where}`,
    [subscriptionId],
  );
  return rows[0]!.count;
}

it.each([
  ['it is switched on', 'PATCH', { is_active: true }],
  ['its target moves', 'PATCH', { target_url: '/ok/moved' }],
  ['its rate limit goes', 'PATCH', { rate_limit: null }],
  ['its concurrency grows', 'PATCH', { max_concurrency: 5 }],
  ['it is replaced', 'PUT', { target_url: '/ok' }],
])('what is due goes out when %s', async (_, method, change: Record<string, unknown>) => {
  const { id } = await subscribe({
    is_active: !('is_active' in change),
    rate_limit: { limit: 1, period_seconds: 60 },
  });
  await deliveries(id, 1, 'now');

  const path = 'target_url' in change ? String(change['target_url']) : '/ok';
  await tenant.request(method, `/subscriptions/${id}`, {
    ...change,
    ...('target_url' in change && { target_url: simulator.url + path }),
  });

  await simulator.waitFor(() => simulator.countOn(path) === 1);
});

it('signs with both secrets while they overlap', async () => {
  const { id, secret } = await subscribe();
  const { body } = await tenant.request('POST', `/subscriptions/${id}/rotate-secret`);

  const { headers, payload } = await nextDelivery();

  expect(headers['webhook-signature']!.split(' ')).toHaveLength(2);
  for (const either of [secret, body.secret]) new Webhook(either).verify(payload, headers);
});

it('goes on signing with the old one when it is rotated to the same secret again', async () => {
  const { id, secret } = await subscribe();
  const body = { secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}` };
  for (const _ of [1, 2]) await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, body);

  const { headers, payload } = await nextDelivery();

  for (const either of [secret, body.secret]) new Webhook(either).verify(payload, headers);
});

it.each([
  ['rotation without overlap', 'POST', '/rotate-secret', { overlap_seconds: 0 }],
  ['a secret given to PATCH', 'PATCH', '', { secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}` }],
])('signs with the new secret alone after %s', async (_, method, path, body) => {
  const { id, secret } = await subscribe();
  await tenant.request(method, `/subscriptions/${id}${path}`, body);
  const { body: now } = await tenant.request('GET', `/subscriptions/${id}/secret`);

  const { headers, payload } = await nextDelivery();

  new Webhook(now.secret).verify(payload, headers);
  expect(() => new Webhook(secret).verify(payload, headers)).toThrow();
});

async function nextDelivery(): Promise<{ headers: Record<string, string>; payload: Buffer }> {
  await tenant.request('POST', '/events', { event_type: 'user.created', payload: { id: 1 } });
  await simulator.waitFor(1);
  const [arrival] = simulator.received;
  return { headers: arrival!.headers as Record<string, string>, payload: arrival!.body };
}

it('ends the deliveries of a deleted subscription soon, and leaves those of others alone', async () => {
  const { id } = await subscribe();
  const other = await subscribe();
  await deliveries(id, 2_300, 'in an hour');
  await deliveries(other.id, 1, 'in an hour');

  expect((await tenant.request('DELETE', `/subscriptions/${id}`)).status).toBe(204);

  const dead = "status = 'dead' and dead_reason = 'subscription_deleted'";
  await waitFor(async () => (await count(dead, id)) === 2_300, { what: 'a dead letter of every delivery' });
  expect(await count("status = 'retrying' and next_attempt_at > now() and attempt_count = 1", other.id)).toBe(
    1,
  );
  expect(simulator.total).toBe(0);
});
