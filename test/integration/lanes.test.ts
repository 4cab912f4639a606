import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { waitFor } from '../support/wait-for.js';

let simulator: Simulator;
const running: Posthorn[] = [];

beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(() => simulator.close());
afterEach(async () => {
  for (const posthorn of running.splice(0).reverse()) await posthorn.stop();
  simulator.clear();
});

async function start(env: Record<string, string> = {}, databaseUrl?: string): Promise<Posthorn> {
  const posthorn = await startPosthorn({ env, ...(databaseUrl !== undefined && { databaseUrl }) });
  running.push(posthorn);
  return posthorn;
}

/** An api, two workers and two schedulers on one database and one Redis. */
async function startFleet(env: Record<string, string> = {}): Promise<Posthorn> {
  const database = await createDatabase();
  const shared = { ...env, REDIS_URL: (await freshRedis()).url };
  for (const ROLE of ['worker', 'worker', 'scheduler', 'scheduler'])
    await start({ ...shared, ROLE }, database.url);
  return start({ ...shared, ROLE: 'api' }, database.url);
}

async function subscribe(
  tenant: TestTenant,
  path: string,
  rules: Record<string, unknown> = {},
): Promise<string> {
  const { status, body, text } = await tenant.request('POST', '/subscriptions', {
    target_url: simulator.url + path,
    ...rules,
  });
  expect(status, text).toBe(201);
  return body.id;
}

async function send(tenant: TestTenant, count: number, event_type = 'a.b'): Promise<void> {
  for (let sent = 0; sent < count; sent += 500) {
    const events = Array.from({ length: Math.min(500, count - sent) }, (_, index) => ({
      event_type,
      payload: { number: sent + index },
    }));
    const { status, body, text } = await tenant.request('POST', '/events/batch', { events });
    expect(status, text).toBe(202);
    expect(body.results.every((result: { status: string }) => result.status === 'accepted')).toBe(true);
  }
}

const arrivals = (path: string) => simulator.countOn(path);
const numbers = (path: string) =>
  simulator.receivedOn(path).map(({ body }) => JSON.parse(body.toString()).number as number);

describe('a rate limit', () => {
  it.each([
    [3, 13, 'two workers', () => startFleet()],
    [10, 25, 'one process', () => start()],
  ])('of %i a second gives %i deliveries of %s a slot each', async (limit, count, _, startAll) => {
    const posthorn = await startAll();
    const tenant = await posthorn.tenant();
    const path = `/ok/paced-${limit}`;
    await subscribe(tenant, path, { rate_limit: { limit, period_seconds: 1 } });
    const sentAt = Date.now();
    await send(tenant, count);
    await waitFor(() => arrivals(path) === count, { what: `all ${count}` });
    // None before its slot, but for what clocks differ. How much later it comes, and so how near to the next one, a busy
    // machine decides.
    simulator.receivedOn(path).forEach(({ arrivedAt }, number) => {
      expect(arrivedAt - sentAt, `arrival ${number}`).toBeGreaterThanOrEqual((number * 1_000) / limit - 20);
    });
    expect(new Set(numbers(path)).size).toBe(count);
  });
});

describe('max_concurrency', () => {
  it.each([1, 3])('of %i is never exceeded, whatever the number of workers', async (limit) => {
    const posthorn = await startFleet();
    const tenant = await posthorn.tenant();
    const path = `/delay/40/narrow-${limit}`;
    let open = 0;
    let most = 0;
    const counting = await startSimulator({ onHandled: () => open-- });
    counting.setBehaviour(path, 'delay/40');
    try {
      const { status, text } = await tenant.request('POST', '/subscriptions', {
        target_url: counting.url + path,
        max_concurrency: limit,
      });
      expect(status, text).toBe(201);
      const watching = setInterval(() => {
        open = counting.receivedOn(path).filter((arrival) => arrival.status === null).length;
        most = Math.max(most, open);
      }, 1);
      await send(tenant, 30);
      await waitFor(() => counting.countOn(path) === 30, { what: 'all 30' });
      clearInterval(watching);
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(limit);
    } finally {
      await counting.close();
    }
  });
});

it('two workers and two schedulers send no attempt twice and miss none', async () => {
  // Node accepts one connection a turn of its event loop, and the simulator shares this one with the whole fleet: of
  // the hundreds that two workers open by default, the last ones time out where a turn takes 50 ms and more.
  const posthorn = await startFleet({ WORKER_COUNT: '16', DELIVERY_TIMEOUT_MS: '30000' });
  const tenant = await posthorn.tenant();
  const paths = Array.from({ length: 8 }, (_, index) => `/ok/twin-${index}`);
  for (const path of paths) await subscribe(tenant, path);
  await send(tenant, 1_000);
  await waitFor(() => paths.every((path) => arrivals(path) >= 1_000), { what: 'all', timeoutMs: 240_000 });
  for (const path of paths) {
    expect(arrivals(path)).toBe(1_000);
    expect(simulator.receivedOn(path).filter(({ duplicate }) => duplicate)).toEqual([]);
  }
});

it('a hanging subscriber with thousands of due deliveries does not slow another one down', async () => {
  const posthorn = await start({
    SHUTDOWN_DEADLINE_SECONDS: '1',
  });
  const tenant = await posthorn.tenant();
  for (let index = 0; index < 5; index++) {
    await subscribe(tenant, `/hang/${index}`, { event_types: ['stuck'] });
  }
  await subscribe(tenant, '/ok/brisk', { event_types: ['brisk'] });
  await send(tenant, 2_000, 'stuck');
  await waitFor(() => simulator.total >= 10, { what: 'the hanging requests' });

  await send(tenant, 200, 'brisk');
  await waitFor(() => arrivals('/ok/brisk') === 200, { what: 'the brisk deliveries' });
  // They did not wait for a hanging request: none has ended.
  const hanging = simulator.received.filter(({ path }) => path.startsWith('/hang/'));
  expect(hanging.filter(({ status }) => status !== null)).toEqual([]);
});

it('one large event fans out to every subscription that wants it', async () => {
  const posthorn = await start();
  const tenant = await posthorn.tenant();
  for (let index = 0; index < 60; index++)
    await subscribe(tenant, `/ok/fan-${index}`, { event_types: ['big.*'] });
  await subscribe(tenant, '/ok/other', { event_types: ['small.*'] });
  const payload = { text: 'x'.repeat(500_000) };
  const { status, body } = await tenant.request('POST', '/events', { event_type: 'big.one', payload });
  expect(status).toBe(202);
  expect(body.deliveries).toBe(60);
  await waitFor(() => simulator.total === 60, { what: 'sixty large deliveries' });
  expect(arrivals('/ok/other')).toBe(0);
});

describe('a failing delivery', () => {
  it('is retried by its policy and dead-lettered with the reason, its attempts kept', async () => {
    const posthorn = await start();
    const tenant = await posthorn.tenant();
    await subscribe(tenant, '/always-fail/a', { retry_policy: { schedule: [0.1, 0.2] } });
    const { body } = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    const deadLetters = await waitFor(
      async () => {
        const { body: page } = await tenant.request('GET', '/dlq');
        return page.data.length === 1 && page.data;
      },
      { what: 'a dead letter' },
    );
    expect(deadLetters[0]).toMatchObject({ reason: 'exhausted', event_id: body.id, attempt_count: 3 });
    const { body: delivery } = await tenant.request('GET', `/status/delivery/${deadLetters[0].id}`);
    expect(delivery.attempts.map((attempt: any) => [attempt.attempt_number, attempt.status_code])).toEqual([
      [1, 500],
      [2, 500],
      [3, 500],
    ]);
    const attempts = simulator
      .receivedOn('/always-fail/a')
      .map(({ headers }) => headers['x-webhook-attempt']);
    expect(attempts).toEqual(['1', '2', '3']);
  });

  it('that fails first is delivered in the end, under the same webhook-id', async () => {
    const posthorn = await start();
    const tenant = await posthorn.tenant();
    await subscribe(tenant, '/fail-first/2/b', { retry_policy: { schedule: [0.1, 0.1, 0.1] } });
    await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await waitFor(() => arrivals('/fail-first/2/b') === 3, { what: 'the third attempt' });
    const ids = simulator.receivedOn('/fail-first/2/b').map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids).size).toBe(1);
  });

  it('honours Retry-After where it is longer than the policy', async () => {
    const posthorn = await start();
    const tenant = await posthorn.tenant();
    simulator.setBehaviour('/later', 'retry-after/2/status/503,200');
    await subscribe(tenant, '/later', { retry_policy: { schedule: [0.1] } });
    await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await waitFor(() => arrivals('/later') === 2, { what: 'the second attempt' });
    const [first, second] = simulator.receivedOn('/later');
    expect(second!.arrivedAt - first!.arrivedAt).toBeGreaterThanOrEqual(1990);
  });

  it('410 disables the subscription, dead-letters as gone, and holds the rest of the lane', async () => {
    const posthorn = await start();
    const tenant = await posthorn.tenant();
    const id = await subscribe(tenant, '/gone/c', { max_concurrency: 1 });
    await send(tenant, 5);
    await waitFor(
      async () => (await tenant.request('GET', `/subscriptions/${id}`)).body.is_active === false,
      { what: 'the subscription to be disabled' },
    );
    const { body: subscription } = await tenant.request('GET', `/subscriptions/${id}`);
    expect(subscription.disabled_reason).toBe('gone');
    expect((await tenant.request('GET', '/dlq')).body.data[0].reason).toBe('gone');

    simulator.setBehaviour('/gone/c', 'ok');
    const held = arrivals('/gone/c');
    await tenant.request('PATCH', `/subscriptions/${id}`, { is_active: true });
    await waitFor(() => arrivals('/gone/c') === held + (5 - held), { what: 'the held deliveries' });
  });

  it('of a deleted subscription is dead with that reason', async () => {
    const posthorn = await start();
    const tenant = await posthorn.tenant();
    const id = await subscribe(tenant, '/always-fail/d', { retry_policy: { schedule: [600] } });
    await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await waitFor(() => arrivals('/always-fail/d') === 1, { what: 'the first attempt' });
    expect((await tenant.request('DELETE', `/subscriptions/${id}`)).status).toBe(204);
    const [deadLetter] = await waitFor(
      async () => {
        const { body } = await tenant.request('GET', '/dlq');
        return body.data.length === 1 && body.data;
      },
      { what: 'a dead letter' },
    );
    expect(deadLetter).toMatchObject({ reason: 'subscription_deleted', attempt_count: 1 });
  });
});

it('switching a subscription on reaches every process: events follow at once', async () => {
  const posthorn = await startFleet();
  const tenant = await posthorn.tenant();
  const id = await subscribe(tenant, '/ok/toggled', { is_active: false });
  const { body: unwanted } = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
  expect(unwanted).toMatchObject({ deliveries: 0, status: 'received' });
  await tenant.request('PATCH', `/subscriptions/${id}`, { is_active: true });
  const { body: wanted } = await tenant.request('POST', '/events', { event_type: 'a', payload: 2 });
  expect(wanted.deliveries).toBe(1);
  await waitFor(() => arrivals('/ok/toggled') === 1, { what: 'the delivery' });
});

it('a rotated secret: both sign until the old one expires', async () => {
  const posthorn = await start();
  const tenant = await posthorn.tenant();
  const id = await subscribe(tenant, '/ok/rotating');
  const { body: before } = await tenant.request('GET', `/subscriptions/${id}/secret`);
  const { body: after } = await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, {});
  expect(after.secret).not.toBe(before.secret);
  for (const secret of [before.secret, after.secret]) {
    simulator.setSecret('/ok/rotating', secret);
    const seen = arrivals('/ok/rotating');
    await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await waitFor(() => arrivals('/ok/rotating') === seen + 1, { what: 'the delivery' });
    expect(simulator.receivedOn('/ok/rotating').at(-1)).toMatchObject({ status: 200, signatureValid: true });
  }
});

it('a worker with less room than lanes serves all of them without help from the sweep', async () => {
  const posthorn = await start({ WORKER_COUNT: '24', SWEEP_INTERVAL_SECONDS: '300' });
  const tenant = await posthorn.tenant();
  const paths = Array.from({ length: 120 }, (_, index) => `/delay/5/crowd-${index}`);
  for (const [index, path] of paths.entries())
    await subscribe(tenant, path, { event_types: [`crowd.${index}`] });
  const events = paths.flatMap((_, index) =>
    [1, 2].map((payload) => ({ event_type: `crowd.${index}`, payload })),
  );
  for (let round = 0; round < 3; round++) {
    expect((await tenant.request('POST', '/events/batch', { events })).status).toBe(202);
  }
  await waitFor(() => paths.every((path) => arrivals(path) === 6), {
    what: 'all of the crowd',
  });
});
