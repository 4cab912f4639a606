import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Load } from '../support/load.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { freshRedis, RedisServer, startRedis } from '../support/redis.js';
import { waitFor } from '../support/wait-for.js';

const idsOn = (simulator: Simulator, path: string): string[] =>
  simulator.receivedOn(path).map(({ headers }) => headers['webhook-id'] as string);

describe('one process on Bull', () => {
  const EVENTS = 500;
  const PATHS = ['/ok/a', '/ok/b', '/delay/20/c', '/fail-first/40/d'];
  let redis: RedisServer;
  let posthorn: Posthorn;
  let simulator: Simulator;
  let tenant: TestTenant;

  beforeEach(async () => {
    simulator = await startSimulator();
    redis = await startRedis();
    posthorn = await startPosthorn({ env: { REDIS_URL: redis.url, SHUTDOWN_DEADLINE_SECONDS: '120' } });
    tenant = await posthorn.tenant();
    for (const path of PATHS) {
      const { status } = await tenant.request('POST', '/subscriptions', {
        target_url: `${simulator.url}${path}`,
        retry_policy: { schedule: Array<number>(20).fill(0.3) },
      });
      expect(status).toBe(201);
    }
  });
  afterEach(async () => {
    await posthorn.stop();
    await redis.kill();
    await simulator.close();
  });

  const arrivedOnce = (load: Load): void => {
    const expected = [...load.acknowledged.values()].toSorted();
    for (const path of PATHS) {
      const accepted = simulator.receivedOn(path).filter(({ status }) => status === 200);
      expect(accepted.map(({ headers }) => headers['webhook-id']).toSorted(), path).toEqual(expected);
    }
  };
  const allAccepted = (): boolean =>
    PATHS.every((path) => simulator.stats()[path]?.statuses['200'] === EVENTS);

  it('delivers all, once, though Redis forgets everything again and again', async () => {
    const load = new Load(EVENTS, () => 'order.paid');
    const sending = load.send(tenant);
    for (const arrivals of [50, 200, 400, 800, 1_200]) {
      await simulator.waitFor(arrivals);
      await redis.flush();
    }
    await sending;
    expect(load.acknowledged.size).toBe(EVENTS);
    await simulator.waitFor(allAccepted);
    arrivedOnce(load);
  });

  it('accepts while Redis is away, and delivers all once it is back, empty', async () => {
    const load = new Load(EVENTS, () => 'order.paid');
    const sending = load.send(tenant, 4);
    await simulator.waitFor(100);
    await redis.kill();
    await sending;
    // All of them at their first try.
    expect(load.acknowledged.size).toBe(EVENTS);
    const health = await posthorn.anonymous.request('GET', '/health');
    expect(health.status).toBe(200);
    expect(health.body.details.redis.status).toBe('degraded');
    expect((await posthorn.anonymous.request('GET', '/ready')).status).toBe(200);

    redis = await startRedis(redis.port);
    await simulator.waitFor(allAccepted);
    arrivedOnce(load);
    await waitFor(
      async () => (await posthorn.anonymous.request('GET', '/health')).body.details.redis.status === 'up',
      { what: 'health to say that Redis is back' },
    );
  });

  it('stops in time while Redis is away', async () => {
    await redis.kill();
    const startedAt = performance.now();
    await posthorn.app.close();
    // It does not wait for its deadline.
    expect(performance.now() - startedAt).toBeLessThan(60_000);
  });
});

it('starts while Redis is away, accepts, and delivers once Redis is there', async () => {
  const simulator = await startSimulator();
  let redis = await startRedis();
  await redis.kill();
  const posthorn = await startPosthorn({ env: { REDIS_URL: redis.url } });
  const tenant = await posthorn.tenant();
  await tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok/late` });
  const answer = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
  expect(answer.status).toBe(202);

  redis = await startRedis(redis.port);
  await simulator.waitFor(1);
  expect(idsOn(simulator, '/ok/late')).toEqual([answer.body.id]);
  await posthorn.stop();
  await redis.kill();
  await simulator.close();
});

describe('two workers, two schedulers and an api', () => {
  const EVENTS = 3_000;
  const SUBSCRIPTIONS = 12;
  const all: Posthorn[] = [];
  let simulator: Simulator;
  let tenant: TestTenant;

  beforeAll(async () => {
    simulator = await startSimulator({ maxRecords: 20_000, keepBodies: false });
    const env = { REDIS_URL: (await freshRedis()).url };
    const api = await startPosthorn({ env: { ...env, ROLE: 'api' } });
    all.push(api);
    for (const ROLE of ['worker', 'worker', 'scheduler', 'scheduler']) {
      all.push(await startPosthorn({ env: { ...env, ROLE }, databaseUrl: api.databaseUrl }));
    }
    tenant = await api.tenant();
  });
  afterAll(async () => {
    for (const posthorn of all.toReversed()) await posthorn.stop();
    await simulator.close();
  });

  it('send each delivery once, and leave none out', async () => {
    const paths = Array.from({ length: SUBSCRIPTIONS }, (_, index) => `/ok/${index}`);
    for (const [index, path] of paths.entries()) {
      // One wants all of them, so that one lane is long; the others a quarter each, so that they are many.
      await tenant.request('POST', '/subscriptions', {
        target_url: `${simulator.url}${path}`,
        event_types: index === 0 ? [] : [`load.${index % 4}`],
      });
    }
    const expected = new Map<string, string[]>(paths.map((path) => [path, []]));
    const sent = [];
    for (let from = 0; from < EVENTS; from += 250) {
      const events = Array.from({ length: 250 }, (_, index) => ({
        event_type: `load.${(from + index) % 4}`,
        payload: from + index,
      }));
      sent.push(
        tenant.request('POST', '/events/batch', { events }).then(({ status, body, text }) => {
          expect(status, text).toBe(202);
          for (const { index, id } of body.results as { index: number; id: string }[]) {
            for (const [place, path] of paths.entries()) {
              if (place === 0 || place % 4 === (from + index) % 4) expected.get(path)!.push(id);
            }
          }
        }),
      );
    }
    await Promise.all(sent);
    const total = [...expected.values()].reduce((sum, ids) => sum + ids.length, 0);
    expect(total).toBeGreaterThan(10_000);

    await simulator.waitFor(total);
    await waitFor(
      async () => {
        const open = ['pending', 'delivering', 'retrying'].map((status) =>
          tenant.request('GET', `/deliveries?limit=1&status=${status}`),
        );
        return (await Promise.all(open)).every(({ body }) => (body.data as unknown[]).length === 0);
      },
      { what: 'every delivery to be recorded' },
    );
    for (const [path, ids] of expected) {
      expect(idsOn(simulator, path).toSorted(), path).toEqual(ids.toSorted());
    }
  });
});
