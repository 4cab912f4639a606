import { BullModule, getQueueToken } from '@nestjs/bull';
import { DynamicModule, Module } from '@nestjs/common';
import type { Queue } from 'bull';
import { Config } from '../config/config.js';
import { BullLaneQueue, LaneJob } from './bull-lane-queue.js';
import { BullLaneScheduler, LANE_QUEUES } from './bull-lane-scheduler.js';
import { InProcessLaneScheduler } from './in-process-lane-scheduler.js';
import { laneQueueNames, laneQueuePrefix } from './lane-queue-names.js';
import { LaneScheduler } from './lane-scheduler.js';
import { RedisConnections } from './redis-connections.js';

/** After an error Bull asks for the next job again after this time; its own five seconds are a long time to wait. */
const RETRY_PROCESS_MS = 500;

/** The connections that all Bull queues share, and the rate limiter with them. */
@Module({ providers: [RedisConnections], exports: [RedisConnections] })
export class RedisModule {}

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

  /** For any number of processes that meet in Redis. */
  static bull({ queuePrefix, queueShards }: Config): DynamicModule {
    const names = laneQueueNames(queueShards);
    return {
      module: QueueModule,
      global: true,
      imports: [
        RedisModule,
        BullModule.registerQueueAsync(
          ...names.map((name, shard) => ({
            name,
            imports: [RedisModule],
            inject: [RedisConnections],
            useFactory: (connections: RedisConnections) => ({
              prefix: laneQueuePrefix(queuePrefix, shard, connections.isCluster),
              settings: { retryProcessDelay: RETRY_PROCESS_MS },
              createClient: connections.open.bind(connections),
            }),
          })),
        ),
      ],
      providers: [
        {
          provide: LANE_QUEUES,
          inject: names.map((name) => getQueueToken(name)),
          useFactory: (...queues: Queue<LaneJob>[]) => queues.map((queue) => new BullLaneQueue(queue)),
        },
        BullLaneScheduler,
        { provide: LaneScheduler, useExisting: BullLaneScheduler },
      ],
      exports: [LaneScheduler],
    };
  }
}
