import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Load } from '../support/load.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { startRedisCluster, startRedisSentinel } from '../support/redis-cluster.js';
import { waitFor } from '../support/wait-for.js';

const EVENTS = 400;
const SUBSCRIPTIONS = 12;

describe('a Redis of several servers', () => {
  let simulator: Simulator;
  let processes: Posthorn[];
  let tenant: TestTenant;
  let stopRedis: () => Promise<void>;

  beforeEach(async () => {
    simulator = await startSimulator({ keepBodies: false });
    processes = [];
  });
  afterEach(async () => {
    for (const posthorn of processes.toReversed()) await posthorn.stop();
    await stopRedis();
    await simulator.close();
  });

  /** An api, a worker and a scheduler, and subscriptions of which the last ones fail at first. */
  async function start(env: Record<string, string>): Promise<void> {
    for (const ROLE of ['api', 'worker', 'scheduler']) {
      const databaseUrl = processes[0]?.databaseUrl;
      processes.push(
        await startPosthorn({ env: { ...env, ROLE }, ...(databaseUrl !== undefined && { databaseUrl }) }),
      );
    }
    tenant = await processes[0]!.tenant();
    for (let number = 0; number < SUBSCRIPTIONS; number++) {
      const { status } = await tenant.request('POST', '/subscriptions', {
        target_url: `${simulator.url}${number < 10 ? `/ok/${number}` : `/fail-first/20/${number}`}`,
        retry_policy: { schedule: Array<number>(20).fill(0.3) },
      });
      expect(status).toBe(201);
    }
  }

  const allAccepted = (): boolean =>
    Object.values(simulator.stats()).filter(({ statuses }) => statuses['200'] === EVENTS).length ===
    SUBSCRIPTIONS;

  const redisHealth = async (): Promise<string> =>
    (await processes[0]!.anonymous.request('GET', '/health')).body.details.redis.status;

  it('a Cluster: deliveries go on after a primary was killed and its replica took over', async () => {
    const cluster = await startRedisCluster(3, { withReplicas: true });
    stopRedis = () => cluster.stop();
    await start({ REDIS_URL: cluster.url, QUEUE_SHARDS: '6' });
    expect(await redisHealth()).toBe('up');

    const load = new Load(EVENTS, () => 'order.paid');
    const sending = load.send(tenant, 4);
    await simulator.waitFor(200);
    await cluster.nodes[0]!.kill();
    await sending;
    expect(load.acknowledged.size).toBe(EVENTS);
    await simulator.waitFor(allAccepted);
    await waitFor(async () => (await redisHealth()) === 'up', {
      what: 'health to see the replica in its place',
    });
  });

  it('a Cluster without replicas: the other nodes carry on, and the node comes back empty', async () => {
    const cluster = await startRedisCluster(3, { servesInPart: true });
    stopRedis = () => cluster.stop();
    await start({ REDIS_URL: cluster.url, QUEUE_SHARDS: '6' });

    const load = new Load(EVENTS, () => 'order.paid');
    const sending = load.send(tenant, 4);
    await simulator.waitFor(200);
    await cluster.nodes[1]!.kill();
    await sending;
    expect(load.acknowledged.size).toBe(EVENTS);
    await simulator.waitFor(allAccepted);
    expect(await redisHealth()).toBe('degraded');

    await cluster.restart(1);
    await waitFor(async () => (await redisHealth()) === 'up', {
      what: 'health to see the node again',
    });
  });

  it('Sentinels: deliveries go on after the primary was killed and the replica took over', async () => {
    const sentinel = await startRedisSentinel();
    stopRedis = () => sentinel.stop();
    await start({ REDIS_URL: sentinel.url });
    expect(await redisHealth()).toBe('up');

    const load = new Load(EVENTS, () => 'order.paid');
    const sending = load.send(tenant, 4);
    await simulator.waitFor(200);
    await sentinel.primary.kill();
    await sending;
    expect(load.acknowledged.size).toBe(EVENTS);
    await simulator.waitFor(allAccepted);
    expect(await sentinel.primaryPort()).toBe(sentinel.replica.port);
    await waitFor(async () => (await redisHealth()) === 'up', {
      what: 'health to see the new primary',
    });
  });

  it('stops in time while all Sentinels and servers are away', async () => {
    const sentinel = await startRedisSentinel();
    stopRedis = () => Promise.resolve();
    await start({ REDIS_URL: sentinel.url, SHUTDOWN_DEADLINE_SECONDS: '120' });
    await sentinel.stop();
    const startedAt = performance.now();
    await processes[1]!.app.close();
    // It does not wait for its deadline.
    expect(performance.now() - startedAt).toBeLessThan(60_000);
  });
});
