import { BullModule } from '@nestjs/bull';
import { DynamicModule, Module } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { BullLaneScheduler, LANES_QUEUE } from './bull-lane-scheduler.js';
import { InProcessLaneScheduler } from './in-process-lane-scheduler.js';
import { LaneScheduler } from './lane-scheduler.js';
import { LaneProcessor } from './lane.processor.js';

/** Provides {@link LaneScheduler} to every module. */
@Module({})
export class QueueModule {
  /** For a single process without Redis. */
  static inProcess(): DynamicModule {
    return {
      module: QueueModule,
      global: true,
      providers: [{ provide: LaneScheduler, useClass: InProcessLaneScheduler }],
      exports: [LaneScheduler],
    };
  }

  /** @param serving whether this process delivers, rather than only wakes lanes for others */
  static bull(serving: boolean): DynamicModule {
    return {
      module: QueueModule,
      global: true,
      imports: [
        BullModule.registerQueueAsync({
          name: LANES_QUEUE,
          inject: [Config, LOGGER],
          useFactory: (config: Config, logger: Logger) => ({
            prefix: config.queuePrefix,
            createClient: (type, options) =>
              reportOutages(connect(type, config.redisUrl ?? '', options), logger),
          }),
        }),
      ],
      providers: [
        BullLaneScheduler,
        { provide: LaneScheduler, useExisting: BullLaneScheduler },
        ...(serving ? [LaneProcessor] : []),
      ],
      exports: [LaneScheduler],
    };
  }
}

/**
 * The client that sends commands fails at once while Redis is away, since a wake-up is worthless later; the two that
 * wait for jobs must be patient, as Bull demands.
 */
function connect(type: 'client' | 'subscriber' | 'bclient', url: string, options?: RedisOptions): Redis {
  const common = { ...options, retryStrategy: (attempt: number) => Math.min(attempt * 50, 1_000) };
  const client = new Redis(
    url,
    type === 'client'
      ? { ...common, maxRetriesPerRequest: 1, commandTimeout: 5_000 }
      : { ...common, maxRetriesPerRequest: null, enableReadyCheck: false },
  );
  return client;
}

/** One line when Redis goes away and one when it is back; ioredis itself tells at every try. */
function reportOutages(client: Redis, logger: Logger): Redis {
  let isAway = false;
  client.on('error', (error) => {
    if (!isAway) logger.warn({ err: error }, 'redis.away');
    isAway = true;
  });
  client.on('ready', () => {
    if (isAway) logger.info('redis.back');
    isAway = false;
  });
  return client;
}
