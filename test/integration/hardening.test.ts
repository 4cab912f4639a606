import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { freshMetrics } from '../support/metrics.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait-for.js';

/** Failures between processes: what one of them knows late, loses, or cannot write. */

const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
});

async function start(options: Parameters<typeof startPosthorn>[0]): Promise<Posthorn> {
  const posthorn = await startPosthorn(options);
  running.push(posthorn);
  return posthorn;
}

async function simulate(): Promise<Simulator> {
  const simulator = await startSimulator();
  running.push({ stop: () => simulator.close() });
  return simulator;
}

async function database() {
  const fresh = await createDatabase();
  const client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
  running.push({
    stop: async () => {
      await client.end();
      await fresh.drop();
    },
  });
  return { url: fresh.url, sql: client };
}

const subscribe = async (tenant: TestTenant, target_url: string, rules = {}): Promise<string> => {
  const { status, body, text } = await tenant.request('POST', '/subscriptions', { target_url, ...rules });
  expect(status, text).toBe(201);
  return body.id;
};

it('a worker that has not heard of a subscription yet delivers to it all the same', async () => {
  const simulator = await simulate();
  const { url, sql } = await database();
  const env = { REDIS_URL: (await freshRedis()).url };
  await start({ databaseUrl: url, env: { ...env, ROLE: 'worker' } });
  const api = await start({ databaseUrl: url, env: { ...env, ROLE: 'api' } });
  const tenant = await api.tenant();
  await subscribe(tenant, `${simulator.url}/ok/known`, { event_types: ['known'] });
  await tenant.request('POST', '/events', { event_type: 'known', payload: 1 });
  await simulator.waitFor(() => simulator.countOn('/ok/known') === 1);

  await sql.query('alter table subscription disable trigger announce_change');
  await subscribe(tenant, `${simulator.url}/ok/unheard`, { event_types: ['unheard'] });
  await tenant.request('POST', '/events', { event_type: 'unheard', payload: 1 });
  await simulator.waitFor(() => simulator.countOn('/ok/unheard') === 1);
  expect((await tenant.request('GET', '/dlq')).body.data).toEqual([]);
});

it('a delivery whose worker died in the middle is sent again by another, and its history tells', async () => {
  const simulator = await simulate();
  const { url, sql } = await database();
  const env = { REDIS_URL: (await freshRedis()).url, DELIVERY_TIMEOUT_MS: '1000', LEASE_SECONDS: '2' };
  const api = await start({ databaseUrl: url, env: { ...env, ROLE: 'api' } });
  await start({ databaseUrl: url, env: { ...env, ROLE: 'scheduler' } });
  const tenant = await api.tenant();
  await subscribe(tenant, `${simulator.url}/ok/orphan`);
  const { body: event } = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
  // What a worker that is killed after its claim leaves behind.
  await sql.query(
    `update delivery set status = 'delivering', attempt_count = 1, leased_until = now() + interval '500 ms'`,
  );
  await start({ databaseUrl: url, env: { ...env, ROLE: 'worker' } });
  await simulator.waitFor(() => simulator.countOn('/ok/orphan') === 1);
  expect(simulator.receivedOn('/ok/orphan')[0]!.headers).toMatchObject({
    'webhook-id': event.id,
    'x-webhook-attempt': '2',
  });
  const [delivery] = (await tenant.request('GET', '/deliveries')).body.data;
  const { attempts, status } = await waitFor(
    async () => {
      const { body } = await tenant.request('GET', `/status/delivery/${delivery.id}`);
      return body.status === 'delivered' && body;
    },
    { what: 'the delivery to be recorded' },
  );
  expect(status).toBe('delivered');
  expect(attempts.map((attempt: any) => [attempt.attempt_number, attempt.success])).toEqual([
    [1, false],
    [2, true],
  ]);
  expect(attempts[0].error).toContain('interrupted');
});

it('a cut from Postgres between claim and send costs no attempt', async () => {
  const simulator = await simulate();
  const { url } = await database();
  const proxy = await startTcpProxy(url);
  running.push({ stop: () => proxy.close() });
  const posthorn = await start({ databaseUrl: proxy.url });
  const tenant = await posthorn.tenant();
  await subscribe(tenant, `${simulator.url}/ok/paced`, { rate_limit: { limit: 5, period_seconds: 1 } });
  const events = Array.from({ length: 5 }, (_, payload) => ({ event_type: 'a', payload }));
  await tenant.request('POST', '/events/batch', { events });
  await simulator.waitFor(() => simulator.countOn('/ok/paced') >= 1);
  await proxy.cut();
  // A new lane claims two at first; the second one waits for its slot.
  await simulator.waitFor(() => simulator.countOn('/ok/paced') >= 2);
  proxy.mend();
  await waitFor(
    async () => (await tenant.request('GET', '/deliveries?status=delivered')).body.data.length === 5,
    { what: 'all five to be delivered' },
  );
  const { body } = await tenant.request('GET', '/deliveries');
  expect(body.data.map((delivery: any) => delivery.attempt_count)).toEqual([1, 1, 1, 1, 1]);
  expect(simulator.countOn('/ok/paced')).toBe(5);
});

it('counts what happens, and names the request everywhere', async () => {
  const simulator = await simulate();
  const { url } = await database();
  const posthorn = await start({ databaseUrl: url });
  const tenant = await posthorn.tenant();
  const metric = async (line: string): Promise<number> => {
    const text = await freshMetrics(posthorn.anonymous);
    return Number(
      text
        .split('\n')
        .find((one) => one.startsWith(`${line} `))
        ?.split(' ')
        .at(-1) ?? 0,
    );
  };
  const names = [
    'webhook_events_total{result="accepted"}',
    'webhook_events_total{result="duplicate"}',
    'webhook_events_total{result="rejected"}',
    'webhook_delivery_success_total',
    'webhook_delivery_failure_total{reason="retry"}',
    'webhook_delivery_failure_total{reason="exhausted"}',
    'webhook_delivery_retries_total',
    'webhook_delivery_duration_seconds_count',
    'webhook_delivery_lag_seconds_count',
  ];
  const before = await Promise.all(names.map(metric));
  await subscribe(tenant, `${simulator.url}/ok/good`, { event_types: ['good'] });
  await subscribe(tenant, `${simulator.url}/always-fail/bad`, {
    event_types: ['bad'],
    retry_policy: { schedule: [0.05] },
  });
  const good = { event_type: 'good', payload: 1, idempotency_key: 'once' };
  const first = await tenant.request('POST', '/events', good, { 'x-request-id': 'trace-me-1' });
  expect(first.headers['x-request-id']).toBe('trace-me-1');
  await tenant.request('POST', '/events', good);
  await tenant.request('POST', '/events', { event_type: 'not valid', payload: 1 });
  await tenant.request('POST', '/events', { event_type: 'bad', payload: 1 });
  await waitFor(async () => (await tenant.request('GET', '/dlq')).body.data.length === 1, {
    what: 'the dead letter',
  });
  await waitFor(async () => (await metric('webhook_delivery_duration_seconds_count')) >= before[7]! + 3, {
    what: 'three attempts to be counted',
  });
  const after = await Promise.all(names.map(metric));
  expect(after.map((value, index) => value - before[index]!)).toEqual([2, 1, 1, 1, 1, 1, 1, 3, 3]);
  expect(simulator.receivedOn('/ok/good')[0]!.headers['x-request-id']).toBe('trace-me-1');
});
