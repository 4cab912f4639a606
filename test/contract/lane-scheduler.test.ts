import 'reflect-metadata';
import { getQueueToken } from '@nestjs/bull';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Queue } from 'bull';
import { Redis } from 'ioredis';
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Config, loadConfig } from '../../src/config/config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { createLogger, LOGGER } from '../../src/observability/logger.js';
import { laneQueueNames, shardOf } from '../../src/queue/lane-queue-names.js';
import { LaneScheduler, WAKE_HORIZON_MS } from '../../src/queue/lane-scheduler.js';
import { QueueModule } from '../../src/queue/queue.module.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import {
  type RedisCluster,
  type RedisSentinel,
  startRedisCluster,
  startRedisSentinel,
} from '../support/redis-cluster.js';
import { freshRedis, startRedis } from '../support/redis.js';
import { waitFor } from '../support/wait-for.js';

@Module({})
class LoggerModule {}
const SILENT = { provide: LOGGER, useValue: createLogger('silent', 'test') };

type Environment = Record<string, string>;

const opened: INestApplicationContext[] = [];
const closeAll = async (): Promise<void> => {
  for (const app of opened.splice(0)) await app.close();
};

async function open(env: Environment): Promise<LaneScheduler> {
  const config = loadConfig({ DATABASE_URL: 'postgres://unused', ENCRYPTION_KEY, ...env });
  @Module({
    imports: [
      ConfigModule.with(config),
      { module: LoggerModule, global: true, providers: [SILENT], exports: [SILENT] },
      config.redisUrl === null ? QueueModule.inProcess() : QueueModule.bull(config),
    ],
  })
  class TestModule {}
  const app = await NestFactory.createApplicationContext(TestModule, { logger: false, abortOnError: false });
  opened.push(app);
  const scheduler = app.get(LaneScheduler);
  await waitFor(() => scheduler.isHealthy(), { what: 'the connection to Redis' });
  return scheduler;
}

interface Engine {
  name: string;
  isBull: boolean;
  /** Settings with which nobody has waked anything yet; `settings` on top of them. */
  fresh: () => Environment | Promise<Environment>;
  settings?: Environment;
}

let cluster: RedisCluster;
let sentinel: RedisSentinel;
let prefixes = 0;
const nextPrefix = (): string => `test-${++prefixes}`;

const ENGINES: Engine[] = [
  { name: 'in-process', isBull: false, fresh: () => ({}) },
  { name: 'bull', isBull: true, fresh: async () => ({ REDIS_URL: (await freshRedis()).url }) },
  {
    name: 'bull with four queues',
    isBull: true,
    fresh: async () => ({ REDIS_URL: (await freshRedis()).url, QUEUE_SHARDS: '4' }),
  },
  {
    name: 'bull on a cluster',
    isBull: true,
    fresh: () => ({ REDIS_URL: cluster.url, QUEUE_PREFIX: nextPrefix() }),
  },
  {
    name: 'bull with six queues on a cluster',
    isBull: true,
    fresh: () => ({ REDIS_URL: cluster.url, QUEUE_PREFIX: nextPrefix(), QUEUE_SHARDS: '6' }),
  },
  {
    name: 'bull behind sentinels',
    isBull: true,
    fresh: () => ({ REDIS_URL: sentinel.url, QUEUE_PREFIX: nextPrefix() }),
  },
];

beforeAll(async () => {
  [cluster, sentinel] = await Promise.all([startRedisCluster(3), startRedisSentinel()]);
});
afterAll(async () => {
  await Promise.all([cluster.stop(), sentinel.stop()]);
});

/** What every adapter of the port must do; the engine relies on nothing else. */
describe.each(ENGINES)('the lane scheduler: $name', ({ isBull, fresh }) => {
  afterEach(async () => {
    vi.useRealTimers();
    await closeAll();
  });

  const openFresh = async (): Promise<LaneScheduler> => open(await fresh());

  /** A count of the entries kept for later moments: timers from here on, or delayed jobs in Redis. */
  function wakesAhead(): () => Promise<number> {
    if (isBull) {
      const names = laneQueueNames(opened[0]!.get(Config).queueShards);
      const queues = names.map((name) => opened[0]!.get<Queue>(getQueueToken(name)));
      return async () => {
        const counts = await Promise.all(queues.map((queue) => queue.getDelayedCount()));
        return counts.reduce((sum, count) => sum + count);
      };
    }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    return () => Promise.resolve(vi.getTimerCount());
  }

  /** Serves lanes and remembers which; `hold` keeps calls from ending. */
  async function serve(scheduler: LaneScheduler) {
    const served: string[] = [];
    let hold: Promise<void> | undefined;
    let release = () => {};
    await scheduler.serve(async (lanes) => {
      served.push(...lanes);
      await hold;
    });
    return {
      served,
      block: () => {
        hold = new Promise((resolve) => (release = resolve));
      },
      release: () => {
        hold = undefined;
        release();
      },
    };
  }

  it('serves what is woken', async () => {
    const scheduler = await openFresh();
    const { served } = await serve(scheduler);
    await scheduler.wake(['a', 'b']);
    await waitFor(() => served.length === 2, { what: 'two lanes' });
    expect(served.toSorted()).toEqual(['a', 'b']);
  });

  it('serves what was woken before anybody served', async () => {
    const scheduler = await openFresh();
    await scheduler.wake(['early']);
    const { served } = await serve(scheduler);
    await waitFor(() => served.includes('early'), { what: 'the early lane' });
  });

  it('lists a waiting lane once, however often it is woken', async () => {
    const scheduler = await openFresh();
    for (let times = 0; times < 50; times++) await scheduler.wake(['a']);
    // Of the same queue, where there are several: only those are served in order.
    const shards = opened[0]!.get(Config).queueShards;
    const ids = Array.from({ length: 100 }, (_, index) => `last-${index}`);
    const last = ids.find((id) => shardOf(id, shards) === shardOf('a', shards))!;
    await scheduler.wake([last]);
    const { served } = await serve(scheduler);
    await waitFor(() => served.includes(last), { what: 'the last lane' });
    expect(served.filter((lane) => lane === 'a')).toHaveLength(1);
  });

  it('never loses a wake-up that comes while the lane is being served', async () => {
    const scheduler = await openFresh();
    const { served, block, release } = await serve(scheduler);
    block();
    await scheduler.wake(['a']);
    await waitFor(() => served.length === 1, { what: 'the first service' });
    await scheduler.wake(['a']);
    release();
    await waitFor(() => served.length === 2, { what: 'the second service' });
  });

  it('serves other lanes while one takes long', async () => {
    const scheduler = await openFresh();
    const { served, block, release } = await serve(scheduler);
    block();
    await scheduler.wake(['slow']);
    await waitFor(() => served.includes('slow'), { what: 'the slow lane' });
    await scheduler.wake(['quick']);
    await waitFor(() => served.includes('quick'), { what: 'the quick lane' });
    release();
  });

  it('wakes later, not earlier, and joins wake-ups of the same moment', async () => {
    const scheduler = await openFresh();
    const { served } = await serve(scheduler);
    const from = Date.now();
    for (let times = 0; times < 20; times++) await scheduler.wake(['a'], 300);
    await waitFor(() => served.length > 0, { what: 'the delayed lane' });
    expect(Date.now() - from).toBeGreaterThanOrEqual(299);
    await scheduler.wake(['marker'], 500);
    await waitFor(() => served.includes('marker'), { what: 'the marker' });
    expect(served.filter((lane) => lane === 'a').length).toBeLessThanOrEqual(3);
  });

  it('wakes at once although a later wake-up is waiting', async () => {
    const scheduler = await openFresh();
    const { served } = await serve(scheduler);
    await scheduler.wake(['a'], 30_000);
    await scheduler.wake(['a']);
    await waitFor(() => served.includes('a'), { what: 'the lane' });
  });

  it('keeps what is ahead up to the horizon, and leaves the rest to the sweep', async () => {
    const scheduler = await openFresh();
    const countAhead = wakesAhead();
    await scheduler.wake(['a'], WAKE_HORIZON_MS + 1);
    expect(await countAhead()).toBe(0);
    await scheduler.wake(['a'], WAKE_HORIZON_MS);
    expect(await countAhead()).toBe(1);
  });

  it('keeps few entries for a lane that is woken for thousands of moments', async () => {
    const scheduler = await openFresh();
    const countAhead = wakesAhead();
    // The nearest seconds are left out, since the clock goes on meanwhile.
    const [fromMs, toMs] = [10_000, WAKE_HORIZON_MS];
    const wakes = Array.from({ length: 4_000 }, (_, index) =>
      scheduler.wake(['a'], fromMs + (index * (toMs - fromMs)) / 4_000),
    );
    await Promise.all(wakes);
    const kept = await countAhead();
    expect(kept).toBeGreaterThanOrEqual(60);
    expect(kept).toBeLessThan(80);
  });

  it('serves thousands of lanes', async () => {
    const scheduler = await openFresh();
    const { served } = await serve(scheduler);
    const lanes = Array.from({ length: 3_000 }, (_, index) => `lane-${index}`);
    await scheduler.wake(lanes);
    await waitFor(() => served.length === lanes.length, { what: 'all lanes' });
    expect(new Set(served).size).toBe(lanes.length);
  });

  it('goes on after the handler threw', async () => {
    const scheduler = await openFresh();
    const served: string[] = [];
    await scheduler.serve((lanes) => {
      served.push(...lanes);
      return lanes.includes('bad') ? Promise.reject(new Error('bad lane')) : Promise.resolve();
    });
    await scheduler.wake(['bad']);
    await waitFor(() => served.includes('bad'), { what: 'the bad lane' });
    await scheduler.wake(['good']);
    await waitFor(() => served.includes('good'), { what: 'the good lane' });
  });

  it('waits, when it stops, for what is being served', async () => {
    const scheduler = await openFresh();
    const { served, block, release } = await serve(scheduler);
    block();
    await scheduler.wake(['a']);
    await waitFor(() => served.length === 1, { what: 'the service' });
    let stopped = false;
    const stopping = scheduler.stop().then(() => (stopped = true));
    await new Promise(setImmediate);
    expect(stopped).toBe(false);
    release();
    await stopping;
  });

  it.runIf(isBull)('shares lanes between processes, each wake-up once', async () => {
    const env = await fresh();
    const schedulers = [await open(env), await open(env)];
    const services = [await serve(schedulers[0]!), await serve(schedulers[1]!)];
    const lanes = Array.from({ length: 200 }, (_, index) => `lane-${index}`);
    for (const lane of lanes) await schedulers[0]!.wake([lane]);
    await waitFor(() => services[0]!.served.length + services[1]!.served.length === lanes.length, {
      what: 'all lanes',
    });
    expect(new Set(services.flatMap(({ served }) => served)).size).toBe(lanes.length);
  });
});

it('is not healthy while Redis answers, and refuses what is written', async () => {
  const redis = await startRedis();
  const client = new Redis(redis.url);
  const scheduler = await open({ REDIS_URL: redis.url });
  await client.config('SET', 'maxmemory', '1');
  await scheduler.wake(['a']);
  await expect(scheduler.isHealthy()).rejects.toThrow('OOM');
  await client.config('SET', 'maxmemory', '0');
  expect(await scheduler.isHealthy()).toBe(true);
  client.disconnect();
  await closeAll();
  await redis.stop();
});

describe('processes that disagree on the number of queues', () => {
  afterEach(closeAll);
  const lanes = Array.from({ length: 40 }, (_, index) => `lane-${index}`);

  it.each([
    ['1', '4'],
    ['4', '1'],
    ['4', '6'],
    ['6', '4'],
  ])('a worker with %s serves what is woken with %s', async (workerShards, wakerShards) => {
    const env = { REDIS_URL: (await freshRedis()).url };
    const served: string[] = [];
    const worker = await open({ ...env, QUEUE_SHARDS: workerShards });
    await worker.serve((some) => {
      served.push(...some);
      return Promise.resolve();
    });
    const waker = await open({ ...env, QUEUE_SHARDS: wakerShards });
    // As the sweep does, until nothing is due any more.
    await waitFor(
      async () => {
        await waker.wake(lanes);
        return new Set(served).size === lanes.length;
      },
      { what: 'all lanes' },
    );
  });
});

describe('shardOf', () => {
  it.each([2, 3, 16])('shares lanes out evenly among %i', (shards) => {
    const counts = Array.from({ length: shards }, () => 0);
    for (let index = 0; index < 10_000; index++) counts[shardOf(randomUUID(), shards)]!++;
    for (const count of counts) expect(Math.abs(count * shards - 10_000) / 10_000).toBeLessThan(0.25);
  });
});
