import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { Posthorn, startPosthorn } from '../support/posthorn.js';
import { startRedis } from '../support/redis.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait-for.js';

const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
});

async function start(options: Parameters<typeof startPosthorn>[0] = {}): Promise<Posthorn> {
  const posthorn = await startPosthorn(options);
  running.push(posthorn);
  return posthorn;
}

describe('/health', () => {
  it('is up for a single process', async () => {
    const { anonymous } = await start();
    await waitFor(async () => (await anonymous.request('GET', '/ready')).status === 200, { what: 'ready' });
    const { status, body } = await anonymous.request('GET', '/health');
    expect(status).toBe(200);
    expect(body.status).toBe('ok');
    expect(body.details).toEqual({
      postgres: { status: 'up' },
      queue: { status: 'up', engine: 'in-process', waiting: expect.any(Number) },
      workers: { status: 'up', alive: 1 },
    });
  });

  it('is degraded, and still accepts events, while Redis is away', async () => {
    const redis = await startRedis();
    running.push({ stop: () => redis.stop() });
    const posthorn = await start({ env: { REDIS_URL: redis.url } });
    await waitFor(async () => (await posthorn.anonymous.request('GET', '/health')).body.status === 'ok', {
      what: 'health to be ok',
    });
    const { details } = (await posthorn.anonymous.request('GET', '/health')).body;
    expect(details.redis).toEqual({ status: 'up' });
    expect(details.queue).toEqual({ status: 'up', engine: 'bull', waiting: expect.any(Number) });
    await redis.kill();
    const { status, body } = await waitFor(
      async () => {
        const answer = await posthorn.anonymous.request('GET', '/health');
        return answer.body.status === 'degraded' && answer;
      },
      { what: 'health to be degraded' },
    );
    expect(status).toBe(200);
    expect(body.details.redis.status).toBe('degraded');
    expect(body.details.queue.status).toBe('degraded');
    const tenant = await posthorn.tenant();
    expect((await tenant.request('POST', '/events', { event_type: 'a', payload: 1 })).status).toBe(202);
  });

  it('is down with 503 without Postgres, says so for each request, and recovers by itself', async () => {
    const database = await createDatabase();
    const proxy = await startTcpProxy(database.url);
    running.push({ stop: () => database.drop() }, { stop: () => proxy.close() });
    const posthorn = await start({ databaseUrl: proxy.url });
    const tenant = await posthorn.tenant();

    await proxy.cut();
    const health = await posthorn.anonymous.request('GET', '/health');
    expect(health.status).toBe(503);
    expect(health.body.details.postgres.status).toBe('down');
    expect((await posthorn.anonymous.request('GET', '/ready')).status).toBe(503);
    const refused = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    expect(refused).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);

    proxy.mend();
    await waitFor(
      async () => (await tenant.request('POST', '/events', { event_type: 'a', payload: 1 })).status === 202,
      { what: 'events to be accepted again' },
    );
    await waitFor(async () => (await posthorn.anonymous.request('GET', '/ready')).status === 200, {
      what: 'ready',
    });
  });

  it('is down within 3 seconds with a Postgres that says nothing, and so is /ready', async () => {
    const database = await createDatabase();
    const proxy = await startTcpProxy(database.url);
    running.push({ stop: () => database.drop() }, { stop: () => proxy.close() });
    const { anonymous } = await start({ databaseUrl: proxy.url });
    const isReady = async () => (await anonymous.request('GET', '/ready')).status === 200;
    await waitFor(isReady, { what: 'ready' });

    proxy.freeze();
    const [health, ready] = await Promise.all(
      ['/health', '/ready'].map((path) => anonymous.request('GET', path)),
    );
    // By themselves they would wait for ever.
    expect(health).toMatchObject({ status: 503, body: { details: { postgres: { status: 'down' } } } });
    expect(ready).toMatchObject({ status: 503, body: { code: 'unavailable' } });

    proxy.mend();
    await waitFor(isReady, { what: 'ready again' });
  });

  it('is degraded for an api that has seen no worker', async () => {
    const redis = await startRedis();
    running.push({ stop: () => redis.stop() });
    const { anonymous } = await start({ env: { ROLE: 'api', REDIS_URL: redis.url } });
    const { body } = await anonymous.request('GET', '/health');
    expect(body.details.workers.status).toBe('degraded');
  });
});

describe('/ready', () => {
  it('is 503 until the start-up work is done', async () => {
    const database = await createDatabase();
    running.push({ stop: () => database.drop() });
    const blocker = new pg.Client({ connectionString: database.url });
    await blocker.connect();
    await blocker.query('begin; lock table delivery in access exclusive mode');
    const posthorn = await start({ databaseUrl: database.url });
    const { status, body } = await posthorn.anonymous.request('GET', '/ready');
    expect(status).toBe(503);
    expect(body.detail).toContain('first sweep');
    await blocker.query('rollback');
    await blocker.end();
    await waitFor(async () => (await posthorn.anonymous.request('GET', '/ready')).status === 200, {
      what: 'ready',
    });
  });
});

describe('every role', () => {
  it.each([
    ['api', 401],
    ['worker', 404],
    ['scheduler', 404],
    ['all', 401],
  ])('%s serves health, readiness and metrics, and the API only where it should', async (ROLE, apiStatus) => {
    const redis = await startRedis();
    running.push({ stop: () => redis.stop() });
    const { anonymous } = await start({ env: { ROLE, REDIS_URL: redis.url } });
    await waitFor(async () => (await anonymous.request('GET', '/ready')).status === 200, { what: 'ready' });
    expect((await anonymous.request('GET', '/health')).status).toBe(200);
    const metrics = await anonymous.request('GET', '/metrics');
    expect(metrics.text).toContain('webhook_queue_depth');
    expect(metrics.text).toContain('process_cpu_seconds_total');
    expect((await anonymous.request('GET', '/subscriptions')).status).toBe(apiStatus);
  });

  it('is 503 as soon as a stop begins, while what is in flight is finished', async () => {
    const simulator = await startSimulator();
    running.push({ stop: () => simulator.close() });
    const posthorn = await startPosthorn();
    const tenant = await posthorn.tenant();
    const target_url = `${simulator.url}/hang`;
    await tenant.request('POST', '/subscriptions', { target_url, timeout_ms: 3_000 });
    await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await waitFor(() => simulator.total > 0, { what: 'the request that hangs' });

    const stopped = posthorn.stop();
    const { status, body } = await posthorn.anonymous.request('GET', '/ready');
    expect(status).toBe(503);
    expect(JSON.stringify(body)).toContain('stopping');
    await stopped;
  });
});
