import 'reflect-metadata';
import { type DynamicModule, type INestApplicationContext, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { setTimeout as after } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import type { RateLimitDecision, RateLimitRule } from '../../src/domain/token-bucket.js';
import { LimitsModule } from '../../src/limits/limits.module.js';
import { RateLimiter } from '../../src/limits/rate-limiter.js';
import { RedisRateLimiter } from '../../src/limits/redis-rate-limiter.js';
import { LOGGER } from '../../src/observability/logger.js';
import { RedisModule } from '../../src/queue/queue.module.js';
import { RedisConnections } from '../../src/queue/redis-connections.js';
import { type RedisCluster, startRedisCluster } from '../support/redis-cluster.js';
import { freshRedis, type RedisServer, startRedis } from '../support/redis.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait-for.js';

@Module({})
class LoggerModule {}

/** One process. */
interface Replica {
  limiter: RateLimiter;
  /** What it logged. */
  lines: string[];
  /** Whether it is connected. */
  hasRedis: () => boolean;
}

/**
 * Does without Redis only when that is gone, and not already when the machine has kept it from answering for 100 ms: what
 * the processes share could not be tested otherwise on a machine that is busy.
 */
@Injectable()
class PatientRateLimiter extends RedisRateLimiter {
  protected override readonly patienceMs = 3_600_000;
}

@Module({
  imports: [RedisModule],
  providers: [{ provide: RateLimiter, useClass: PatientRateLimiter }],
  exports: [RateLimiter],
})
class PatientLimits {}

const opened: INestApplicationContext[] = [];
afterEach(async () => {
  for (const app of opened.splice(0)) {
    app.get(RedisConnections, { strict: false }).close();
    await app.close();
  }
});

async function open(
  env: Record<string, string> = {},
  limits: typeof PatientLimits | DynamicModule = PatientLimits,
): Promise<Replica> {
  const config = loadConfig(env);
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => lines.push((JSON.parse(line) as { msg: string }).msg) });
  const logger = { provide: LOGGER, useValue: log };
  @Module({
    imports: [
      ConfigModule.with(config),
      { module: LoggerModule, global: true, providers: [logger], exports: [logger] },
      limits,
    ],
  })
  class TestModule {}
  const app = await NestFactory.createApplicationContext(TestModule, { logger: false, abortOnError: false });
  const limiter = app.get(RateLimiter, { strict: false });
  if (config.redisUrl === null) return { limiter, lines, hasRedis: () => false };
  opened.push(app);
  const redis = app.get(RedisConnections, { strict: false }).open('client');
  const hasRedis = () => redis.status === 'ready';
  await waitFor(hasRedis, { what: 'the connection to Redis' });
  return { limiter, lines, hasRedis };
}

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startRedisCluster(3);
});
afterAll(() => cluster.stop());

let keys = 0;
const nextKey = (): string => `tenant-${++keys}`;

/** So slow that nothing flows in during a test. */
const slow = (burst: number): RateLimitRule => ({ perSecond: 0.01, burst });

/** Seconds that have passed since then, as a whole number that is not too small. */
const secondsSince = (fromMs: number): number => Math.ceil((performance.now() - fromMs) / 1_000);

/** @param nowMs by the clock that the buckets go by */
interface Engine {
  name: string;
  openAll: () => Promise<Replica[]>;
  nowMs: () => Promise<number>;
}

let shared: { url: string; clock: Redis };
beforeAll(async () => {
  const { url } = await freshRedis();
  shared = { url, clock: new Redis(url) };
});
afterAll(() => {
  shared.clock.disconnect();
});

async function redisNowMs(): Promise<number> {
  const [seconds, microseconds] = await shared.clock.time();
  return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
}

const ENGINES: Engine[] = [
  {
    name: 'in-process',
    openAll: async () => [await open({}, LimitsModule.inProcess())],
    nowMs: () => Promise.resolve(performance.now()),
  },
  {
    name: 'redis, two processes',
    openAll: async () => {
      const env = { REDIS_URL: shared.url };
      return [await open(env), await open(env)];
    },
    nowMs: redisNowMs,
  },
  {
    name: 'redis cluster, two processes',
    openAll: async () => [await open({ REDIS_URL: cluster.url }), await open({ REDIS_URL: cluster.url })],
    // Of the same machine.
    nowMs: redisNowMs,
  },
];

/** What every adapter of the port must do. Requests go to its processes by turns. */
describe.each(ENGINES)('the rate limiter: $name', ({ openAll, nowMs }) => {
  async function start() {
    const replicas = await openAll();
    let turn = 0;
    const take = async (key: string, rule: RateLimitRule, cost = 1, paid = 0): Promise<RateLimitDecision> =>
      replicas[turn++ % replicas.length]!.limiter.take(key, rule, cost, paid);
    return { replicas, take };
  }

  it('admits the burst, then refuses', async () => {
    const { take } = await start();
    const [key, rule] = [nextKey(), slow(3)];
    const fromMs = performance.now();
    expect(await take(key, rule)).toEqual({
      allowed: true,
      remaining: 2,
      resetSeconds: 100,
      retryAfterSeconds: 0,
    });
    expect(await take(key, rule)).toMatchObject({ allowed: true, remaining: 1 });
    expect(await take(key, rule)).toMatchObject({ allowed: true, remaining: 0 });
    for (let times = 0; times < 3; times++) {
      const { retryAfterSeconds, ...refused } = await take(key, rule);
      expect(refused).toMatchObject({ allowed: false, remaining: 0 });
      expect(retryAfterSeconds).toBeLessThanOrEqual(100);
      expect(retryAfterSeconds).toBeGreaterThanOrEqual(100 - secondsSince(fromMs));
    }
    expect(await take(nextKey(), rule)).toMatchObject({ allowed: true, remaining: 2 });
  });

  it('admits no more and no less of what comes at once', async () => {
    const { take } = await start();
    const [key, rule] = [nextKey(), slow(30)];
    const decisions = await Promise.all(Array.from({ length: 200 }, () => take(key, rule)));
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(30);
  });

  it('lets tokens flow in', async () => {
    const { take } = await start();
    const [key, rule] = [nextKey(), { perSecond: 20, burst: 2 }];
    const fromMs = performance.now();
    expect(await take(key, rule, 2)).toMatchObject({ allowed: true });
    await waitFor(async () => (await take(key, rule)).allowed, { what: 'a token' });
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(50);
  });

  it('takes small costs when there is too little for great ones', async () => {
    const { take } = await start();
    const [key, rule] = [nextKey(), slow(10)];
    const costs = [8, 3, 2, 1];
    const decisions = await Promise.all(costs.map((cost) => take(key, rule, cost)));
    expect(decisions.filter(({ allowed }) => allowed).length).toBeGreaterThanOrEqual(2);
    const admitted = costs.filter((_, index) => decisions[index]!.allowed);
    expect(admitted.reduce((sum, cost) => sum + cost)).toBeLessThanOrEqual(10);
    expect(await take(key, rule, 11)).toMatchObject({ allowed: false });
  });

  it('admits a cost greater than the burst when the bucket is full, and leaves it in debt', async () => {
    const { take } = await start();
    const [key, rule] = [nextKey(), slow(10)];
    expect(await take(key, rule, 50)).toMatchObject({ allowed: true, remaining: 0, resetSeconds: 5_000 });
    expect(await take(key, rule, 1)).toMatchObject({ allowed: false });
    const fromMs = performance.now();
    const fast = { perSecond: 100, burst: 10 };
    await waitFor(async () => (await take(key, fast, 50)).allowed, { what: 'a full bucket' });
    // 50 tokens, less what has flowed in slowly.
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(400);
  });

  it('charges a cost in two parts', async () => {
    const { take } = await start();
    const [key, rule] = [nextKey(), slow(10)];
    const fromMs = performance.now();
    expect(await take(key, rule, 1)).toMatchObject({ allowed: true });
    expect(await take(key, rule, 99, 1)).toMatchObject({ allowed: true });
    const { allowed, retryAfterSeconds } = await take(key, rule, 1);
    expect(allowed).toBe(false);
    expect(retryAfterSeconds).toBeLessThanOrEqual(9_100);
    expect(retryAfterSeconds).toBeGreaterThanOrEqual(9_100 - secondsSince(fromMs));
  });

  it.each([
    ['slow', slow(100), slow(10)],
    ['fast', { perSecond: 1_000, burst: 10_000 }, { perSecond: 0.01, burst: 10 }],
  ])('holds to a lower burst at once: %s', async (_, before, now) => {
    const { take } = await start();
    const key = nextKey();
    for (let times = 0; times < 4; times++) expect(await take(key, before)).toMatchObject({ allowed: true });
    const decisions = await Promise.all(Array.from({ length: 40 }, () => take(key, now)));
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(10);
  });

  it('holds to a greater rate at once', async () => {
    const { take } = await start();
    const key = nextKey();
    expect(await take(key, slow(5), 5)).toMatchObject({ allowed: true });
    expect(await take(key, slow(5))).toMatchObject({ allowed: false });
    await waitFor(async () => (await take(key, { perSecond: 10_000, burst: 5_000 }, 4_000)).allowed, {
      what: 'what flows in now',
    });
  });

  const rules = fc.record({
    perSecond: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 100, max: 10_000 })),
    burst: fc.integer({ min: 1, max: 1_000 }),
  });
  const scenarios = fc.array(
    fc.record({
      rule: rules,
      arrivals: fc.array(
        fc.record({ waitMs: fc.integer({ min: 0, max: 20 }), cost: fc.integer({ min: 1, max: 50 }) }),
        { minLength: 50, maxLength: 100 },
      ),
    }),
    { minLength: 30, maxLength: 30, size: 'max' },
  );

  it('admits in no stretch of time more than burst, inflow and leases', async () => {
    const { replicas, take } = await start();
    await fc.assert(
      fc.asyncProperty(scenarios, scenarios, async (some, others) => {
        await Promise.all(
          [...some, ...others].map(async ({ rule, arrivals }) => {
            const key = nextKey();
            const admitted: { fromMs: number; toMs: number; cost: number }[] = [];
            const answers: Promise<void>[] = [];
            for (const { waitMs, cost } of arrivals) {
              if (waitMs > 0) await after(waitMs);
              const fromMs = performance.now();
              const answered = take(key, rule, cost).then(({ allowed }) => {
                if (allowed) admitted.push({ fromMs, toMs: performance.now(), cost });
              });
              answers.push(answered);
            }
            await Promise.all(answers);
            admitted.sort((one, other) => one.toMs - other.toMs);
            const { perSecond, burst } = rule;
            const lease = replicas.length > 1 ? Math.floor(Math.min(perSecond / 50, burst / 20)) : 0;
            for (const { fromMs } of admitted) {
              let [sum, greatest] = [0, 0];
              for (const { toMs, cost } of admitted.filter((later) => later.fromMs >= fromMs)) {
                sum += cost;
                greatest = Math.max(greatest, cost);
                // Two clocks, which may differ by a thousandth.
                const inflow = (1.001 * perSecond * (toMs - fromMs)) / 1_000;
                // What is greater than the burst is the last of its stretch: it is paid off before anything else.
                const most = Math.max(burst, greatest) + inflow + replicas.length * lease;
                expect(sum).toBeLessThanOrEqual(most + 1e-3);
              }
            }
          }),
        );
      }),
      { numRuns: 1, endOnFailure: true },
    );
  });

  /** The rule itself is held to in virtual time, in test/unit; here, that the engine goes by it and by one clock. */
  it('admits whoever comes again when it was told to', async () => {
    const { take } = await start();
    await fc.assert(
      fc.asyncProperty(scenarios, async (scenarios) => {
        await Promise.all(
          scenarios.map(async ({ rule, arrivals }) => {
            const key = nextKey();
            let refusals = 0;
            for (const { cost } of arrivals) {
              // Enough for a refusal soon.
              const great = cost + Math.ceil(rule.burst / 3);
              const { allowed, retryAfterSeconds } = await take(key, rule, great);
              if (allowed || retryAfterSeconds > 1) continue;
              const againAtMs = (await nowMs()) + retryAfterSeconds * 1_000;
              await waitFor(async () => (await nowMs()) >= againAtMs, { what: 'the time to come again' });
              expect(await take(key, rule, great)).toMatchObject({ allowed: true });
              if (++refusals === 2) break;
            }
          }),
        );
      }),
      { numRuns: 1, endOnFailure: true },
    );
  });
});

describe('the rate limiter on Redis', () => {
  let server: RedisServer;
  let admin: Redis;
  beforeAll(async () => {
    server = await startRedis();
    admin = new Redis(server.url);
  });
  afterAll(async () => {
    admin.disconnect();
    await server.stop();
  });

  async function scriptRuns(): Promise<number> {
    const stats = await admin.info('commandstats');
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  it('serves a thousand requests with a few commands, and nearly all of them at once', async () => {
    const { limiter } = await open({ REDIS_URL: server.url });
    const [key, rule] = [nextKey(), { perSecond: 1_000_000, burst: 10_000 }];
    await limiter.take(key, rule, 1);
    const before = await scriptRuns();
    let waited = 0;
    for (let times = 0; times < 1_000; times++) {
      const decision = limiter.take(key, rule, 1);
      if (decision instanceof Promise) waited++;
      expect(await decision).toMatchObject({ allowed: true });
    }
    expect(waited).toBeLessThanOrEqual(5);
    expect((await scriptRuns()) - before).toBe(waited);
  });

  it('asks together for requests that come together, and not at all for what cannot be there', async () => {
    const { limiter } = await open({ REDIS_URL: server.url });
    const [key, rule] = [nextKey(), slow(1_000)];
    const before = await scriptRuns();
    await Promise.all(Array.from({ length: 1_000 }, async () => limiter.take(key, rule, 1)));
    expect((await scriptRuns()) - before).toBeLessThanOrEqual(3);
    // At once, for as long as the last answer is fresh.
    await waitFor(() => !(limiter.take(key, rule, 1) instanceof Promise), { what: 'a decision at once' });
    expect(await limiter.take(key, rule, 1)).toMatchObject({ allowed: false });
  });

  it('gives back what is left of a lease', async () => {
    const { limiter } = await open({ REDIS_URL: server.url });
    const other = await open({ REDIS_URL: server.url });
    const [key, rule] = [nextKey(), { perSecond: 50, burst: 20_000 }];
    // A lease of one, which is on hand when all that the bucket holds is wanted.
    expect(await limiter.take(key, rule, 10_000)).toMatchObject({ allowed: true });
    expect(await limiter.take(key, rule, 10_000)).toMatchObject({ allowed: true });
    expect(await other.limiter.take(key, rule, 20_000)).toMatchObject({ allowed: false });
  });

  it('keeps a bucket for as long as it is not full', async () => {
    const { limiter } = await open({ REDIS_URL: server.url, QUEUE_PREFIX: 'kept' });
    const fromMs = performance.now();
    await limiter.take('a', { perSecond: 0.1, burst: 100 }, 3);
    const leftMs = await admin.pttl('kept:rate:a');
    expect(leftMs).toBeLessThanOrEqual(30_000);
    expect(leftMs).toBeGreaterThanOrEqual(30_000 - 1_000 * secondsSince(fromMs));
    await limiter.take('b', { perSecond: 20, burst: 100 }, 3);
    await waitFor(async () => (await admin.exists('kept:rate:b')) === 0, { what: 'the full bucket to go' });
  });

  it('goes on when Redis forgets its scripts, and finds full buckets when it forgets everything', async () => {
    const { limiter, lines } = await open({ REDIS_URL: server.url });
    const [key, rule] = [nextKey(), slow(2)];
    await admin.script('FLUSH');
    expect(await limiter.take(key, rule, 2)).toMatchObject({ allowed: true });
    expect(await limiter.take(key, rule, 1)).toMatchObject({ allowed: false });
    await server.flush();
    await waitFor(async () => (await limiter.take(key, rule, 2)).allowed, { what: 'a full bucket' });
    expect(lines).toEqual([]);
  });

  it('limits each process by itself while Redis is gone, and all of them together when it is back', async () => {
    const own = await startRedis();
    // Patient: that they answer at all shows that they do not wait.
    const [one, other] = [await open({ REDIS_URL: own.url }), await open({ REDIS_URL: own.url })];
    const [key, fresh, rule] = [nextKey(), nextKey(), slow(10)];
    expect(await one.limiter.take(key, rule, 4)).toMatchObject({ allowed: true });
    await own.kill();
    await waitFor(() => !one.hasRedis() && !other.hasRedis(), { what: 'Redis to be gone' });

    // What it knows of a bucket it goes on with.
    expect(await one.limiter.take(key, rule, 6)).toMatchObject({ allowed: true, remaining: 0 });
    expect(await one.limiter.take(key, rule, 1)).toMatchObject({ allowed: false });
    for (const { limiter } of [one, other]) {
      const decisions = await Promise.all(
        Array.from({ length: 30 }, async () => limiter.take(fresh, rule, 1)),
      );
      expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(10);
    }

    const back = await startRedis(own.port);
    for (const { limiter, lines } of [one, other]) {
      await waitFor(
        async () => {
          await limiter.take(fresh, rule, 1);
          return lines.includes('limits.shared');
        },
        { what: 'the limits to be shared again' },
      );
      expect(lines.filter((line) => line.startsWith('limits.'))).toEqual([
        'limits.per_process',
        'limits.shared',
      ]);
    }
    const shared = nextKey();
    expect(await one.limiter.take(shared, rule, 10)).toMatchObject({ allowed: true });
    expect(await other.limiter.take(shared, rule, 1)).toMatchObject({ allowed: false });
    await back.stop();
  });

  it('waits for a Redis that hangs once, and then asks behind the back of requests', async () => {
    const proxy = await startTcpProxy(server.url);
    const { limiter, lines } = await open({ REDIS_URL: proxy.url }, LimitsModule.redis());
    const rule = { perSecond: 1, burst: 1_000 };
    const isShared = async () => {
      await limiter.take(nextKey(), rule, 1);
      return lines.filter((line) => line.startsWith('limits.')).at(-1) !== 'limits.per_process';
    };
    await waitFor(isShared, { what: 'limits that are shared' });
    const before = lines.length;
    proxy.freeze();
    const together = await Promise.all(
      Array.from({ length: 20 }, async () => limiter.take(nextKey(), rule, 1)),
    );
    expect(together.every(({ allowed }) => allowed)).toBe(true);
    for (const time of ['first', 'second']) {
      const heldBytes = proxy.heldBytes();
      await waitFor(
        () => {
          expect(limiter.take(nextKey(), rule, 1)).toMatchObject({ allowed: true });
          return proxy.heldBytes() > heldBytes;
        },
        { what: `the ${time} question behind the back of requests` },
      );
    }
    proxy.mend();
    await waitFor(isShared, { what: 'the limits to be shared again' });
    expect(lines.slice(before).filter((line) => line.startsWith('limits.'))).toEqual([
      'limits.per_process',
      'limits.shared',
    ]);
    await proxy.close();
  });

  it('does without a Redis that answers, and refuses what is written', async () => {
    const { limiter, lines } = await open({ REDIS_URL: server.url });
    await admin.config('SET', 'maxmemory', '1');
    const [key, rule] = [nextKey(), slow(2)];
    expect(await limiter.take(key, rule, 2)).toMatchObject({ allowed: true });
    expect(await limiter.take(key, rule, 1)).toMatchObject({ allowed: false });
    expect(lines).toEqual(['limits.per_process']);
    await admin.config('SET', 'maxmemory', '0');
  });
});
