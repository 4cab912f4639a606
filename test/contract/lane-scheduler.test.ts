import 'reflect-metadata';
import { getQueueToken } from '@nestjs/bull';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Queue } from 'bull';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../../src/config/config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { createLogger, LOGGER } from '../../src/observability/logger.js';
import { LANES_QUEUE } from '../../src/queue/bull-lane-scheduler.js';
import { LaneScheduler, WAKE_HORIZON_MS } from '../../src/queue/lane-scheduler.js';
import { QueueModule } from '../../src/queue/queue.module.js';
import { freshRedis } from '../support/redis.js';
import { waitFor } from '../support/wait-for.js';

@Module({})
class LoggerModule {}
const SILENT = { provide: LOGGER, useValue: createLogger('silent', 'test') };

/** What every adapter of the port must do; the engine relies on nothing else. */
describe.each(['in-process', 'bull'])('the %s lane scheduler', (engine) => {
  const opened: INestApplicationContext[] = [];
  afterEach(async () => {
    vi.useRealTimers();
    for (const app of opened.splice(0)) await app.close();
  });

  async function open(redisUrl?: string): Promise<LaneScheduler> {
    const url = redisUrl ?? (engine === 'bull' ? (await freshRedis()).url : undefined);
    const config = loadConfig({
      DATABASE_URL: 'postgres://unused',
      ...(url !== undefined && { REDIS_URL: url }),
    });
    @Module({
      imports: [
        ConfigModule.with(config),
        { module: LoggerModule, global: true, providers: [SILENT], exports: [SILENT] },
        url === undefined ? QueueModule.inProcess() : QueueModule.bull(true),
      ],
    })
    class TestModule {}
    const app = await NestFactory.createApplicationContext(TestModule, {
      logger: false,
      abortOnError: false,
    });
    opened.push(app);
    const scheduler = app.get(LaneScheduler);
    await waitFor(() => scheduler.isHealthy(), { what: 'the connection to Redis' });
    return scheduler;
  }

  /** A count of the entries kept for later moments: timers from here on, or delayed jobs in Redis. */
  function wakesAhead(): () => Promise<number> {
    if (engine === 'bull') return () => opened[0]!.get<Queue>(getQueueToken(LANES_QUEUE)).getDelayedCount();
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
    const scheduler = await open();
    const { served } = await serve(scheduler);
    await scheduler.wake(['a', 'b']);
    await waitFor(() => served.length === 2, { what: 'two lanes' });
    expect(served.toSorted()).toEqual(['a', 'b']);
  });

  it('serves what was woken before anybody served', async () => {
    const scheduler = await open();
    await scheduler.wake(['early']);
    const { served } = await serve(scheduler);
    await waitFor(() => served.includes('early'), { what: 'the early lane' });
  });

  it('lists a waiting lane once, however often it is woken', async () => {
    const scheduler = await open();
    for (let times = 0; times < 50; times++) await scheduler.wake(['a']);
    await scheduler.wake(['last']);
    const { served } = await serve(scheduler);
    await waitFor(() => served.includes('last'), { what: 'the last lane' });
    expect(served.filter((lane) => lane === 'a')).toHaveLength(1);
  });

  it('never loses a wake-up that comes while the lane is being served', async () => {
    const scheduler = await open();
    const { served, block, release } = await serve(scheduler);
    block();
    await scheduler.wake(['a']);
    await waitFor(() => served.length === 1, { what: 'the first service' });
    await scheduler.wake(['a']);
    release();
    await waitFor(() => served.length === 2, { what: 'the second service' });
  });

  it('serves other lanes while one takes long', async () => {
    const scheduler = await open();
    const { served, block, release } = await serve(scheduler);
    block();
    await scheduler.wake(['slow']);
    await waitFor(() => served.includes('slow'), { what: 'the slow lane' });
    await scheduler.wake(['quick']);
    await waitFor(() => served.includes('quick'), { what: 'the quick lane' });
    release();
  });

  it('wakes later, not earlier, and joins wake-ups of the same moment', async () => {
    const scheduler = await open();
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
    const scheduler = await open();
    const { served } = await serve(scheduler);
    await scheduler.wake(['a'], 30_000);
    await scheduler.wake(['a']);
    await waitFor(() => served.includes('a'), { what: 'the lane' });
  });

  it('keeps what is ahead up to the horizon, and leaves the rest to the sweep', async () => {
    const scheduler = await open();
    const countAhead = wakesAhead();
    await scheduler.wake(['a'], WAKE_HORIZON_MS + 1);
    expect(await countAhead()).toBe(0);
    await scheduler.wake(['a'], WAKE_HORIZON_MS);
    expect(await countAhead()).toBe(1);
  });

  it('keeps few entries for a lane that is woken for thousands of moments', async () => {
    const scheduler = await open();
    const countAhead = wakesAhead();
    const spanMs = 2_000;
    const wakes = Array.from({ length: 4_000 }, (_, index) =>
      scheduler.wake(['a'], WAKE_HORIZON_MS - 1 - (index % spanMs)),
    );
    await Promise.all(wakes);
    const kept = await countAhead();
    // A tenth of a second is one moment; the clock goes on meanwhile.
    expect(kept).toBeGreaterThanOrEqual(spanMs / 100);
    expect(kept).toBeLessThan(100);
  });

  it('serves thousands of lanes', async () => {
    const scheduler = await open();
    const { served } = await serve(scheduler);
    const lanes = Array.from({ length: 3_000 }, (_, index) => `lane-${index}`);
    await scheduler.wake(lanes);
    await waitFor(() => served.length === lanes.length, { what: 'all lanes' });
    expect(new Set(served).size).toBe(lanes.length);
  });

  it('goes on after the handler threw', async () => {
    const scheduler = await open();
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
    const scheduler = await open();
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

  it.runIf(engine === 'bull')('shares lanes between processes, each wake-up once', async () => {
    const { url } = await freshRedis();
    const schedulers = [await open(url), await open(url)];
    const services = [await serve(schedulers[0]!), await serve(schedulers[1]!)];
    const lanes = Array.from({ length: 500 }, (_, index) => `lane-${index}`);
    for (const lane of lanes) await schedulers[0]!.wake([lane]);
    await waitFor(() => services[0]!.served.length + services[1]!.served.length === lanes.length, {
      what: 'all lanes',
    });
    expect(new Set(services.flatMap(({ served }) => served)).size).toBe(lanes.length);
  });
});
