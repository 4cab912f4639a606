import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { LOGGER } from '../observability/logger.js';
import { BullLaneQueue } from './bull-lane-queue.js';
import { LaneHandler, LaneScheduler, WAKE_HORIZON_MS } from './lane-scheduler.js';
import { shardOf } from './lane-queue-names.js';
import { RedisConnections } from './redis-connections.js';

/** Injection token of the {@link BullLaneQueue}s, a lane belonging to the one that {@link shardOf} names. */
export const LANE_QUEUES = Symbol('lane queues');

/** In one process, over all queues. A job only claims; what it claimed is sent while the next job is served. */
const JOBS_AT_ONCE = 16;
/** In each queue. */
const MIN_JOBS_AT_ONCE = 4;

const SAY_SERVED_MS = 5_000;
/** For Bull to write down that a job is done, before connections are closed that cannot be closed in peace. */
const CLOSING_MS = 1_000;

/** The scheduler for any number of processes: Bull on Redis. */
@Injectable()
export class BullLaneScheduler extends LaneScheduler implements OnApplicationShutdown {
  private sayingServed: NodeJS.Timeout | undefined;
  private closing: Promise<void> | undefined;

  private isFailing = false;

  constructor(
    @Inject(LANE_QUEUES) private readonly queues: [BullLaneQueue, ...BullLaneQueue[]],
    private readonly connections: RedisConnections,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    super();
  }

  async wake(subscriptionIds: readonly string[], inMs = 0): Promise<void> {
    if (inMs > WAKE_HORIZON_MS || !this.isConnected()) return;
    const [first] = this.queues;
    try {
      if (this.queues.length === 1) await first.wake(subscriptionIds, inMs);
      else await Promise.all(this.wakeSharded(subscriptionIds, inMs));
      this.note(false);
    } catch (error) {
      // Redis is a disposable wake-up list: the sweep finds what could not be announced.
      this.note(true, error);
    }
  }

  serve(handler: LaneHandler): Promise<void> {
    this.connections.demandLogin();
    const concurrency = Math.max(Math.ceil(JOBS_AT_ONCE / this.queues.length), MIN_JOBS_AT_ONCE);
    for (const queue of this.queues) queue.serve(concurrency, handler);
    this.sayServed();
    this.sayingServed = setInterval(() => this.sayServed(), SAY_SERVED_MS);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    clearInterval(this.sayingServed);
    this.closing ??= this.close();
    await this.closing;
  }

  async onApplicationShutdown(): Promise<void> {
    await this.stop();
    this.connections.close();
  }

  async isHealthy(): Promise<boolean> {
    if (!this.isConnected()) return false;
    await Promise.all(this.queues.map((queue) => queue.probe()));
    this.note(false);
    return true;
  }

  async depth(): Promise<number> {
    if (!this.isConnected()) return 0;
    const depths = await Promise.all(this.queues.map((queue) => queue.depth()));
    return depths.reduce((sum, depth) => sum + depth);
  }

  /** Each lane goes to its own queue, if a worker serves that. */
  private wakeSharded(subscriptionIds: readonly string[], inMs: number): Promise<void>[] {
    const targets = this.queues.map((_, shard) => this.servedFor(shard));
    const lanes = this.queues.map((): string[] => []);
    for (const id of subscriptionIds) lanes[targets[shardOf(id, this.queues.length)] ?? 0]?.push(id);
    return this.queues.flatMap((queue, shard) => {
      const own = lanes[shard] ?? [];
      return own.length === 0 ? [] : [queue.wake(own, inMs)];
    });
  }

  /**
   * The queue that lanes of this one are put into: another one that is served while this one is not, since processes
   * may disagree on how many there are, and a node of a Cluster may be away.
   */
  private servedFor(shard: number): number {
    if (this.queues[shard]?.isServed()) return shard;
    const other = this.queues.findIndex((queue) => queue.isServed());
    return other === -1 ? shard : other;
  }

  /** What it could not say now it says again soon; wake-ups take the first queue meanwhile. */
  private sayServed(): void {
    if (!this.isConnected()) return;
    for (const queue of this.queues) queue.sayServed().catch(() => undefined);
  }

  /** Bull waits for a connection to come back before it closes; without Sentinels, that may take for ever. */
  private async close(): Promise<void> {
    const closed = Promise.all(this.queues.map((queue) => queue.close()));
    const idle = Promise.all(this.queues.map((queue) => queue.idle()));
    const givenUp = idle.then(() => sleep(CLOSING_MS, 'given up', { ref: false }));
    if ((await Promise.race([closed, givenUp])) === 'given up') this.connections.close();
    await closed;
  }

  /** A Redis that answers but refuses (out of memory, read-only) is worth one line, not one a wake-up. */
  private note(isFailing: boolean, error?: unknown): void {
    if (isFailing === this.isFailing) return;
    this.isFailing = isFailing;
    if (isFailing) this.logger.warn({ err: error }, 'wake.failing');
    else this.logger.info('wake.recovered');
  }

  private isConnected(): boolean {
    return this.connections.open('client').status === 'ready';
  }
}
