import { InjectQueue } from '@nestjs/bull';
import { Inject, Injectable } from '@nestjs/common';
import type { Queue } from 'bull';
import type { Logger } from 'pino';
import { LOGGER } from '../observability/logger.js';
import { LaneHandler, LaneScheduler, WAKE_HORIZON_MS, wakeSlot } from './lane-scheduler.js';

export const LANES_QUEUE = 'lanes';

/** A Bull job: "these subscriptions may have something due". */
export interface LaneJob {
  lanes: string[];
}

/** One job carries the lanes that woke together, so that Bull's cost is paid once for all of them. */
const MAX_LANES_A_JOB = 50;
const MAX_LANES_A_COMMAND = 1_000;

/**
 * How long a lane counts as waiting at the most. A job that got lost (FLUSHALL of a part, a worker killed between
 * taking the job and saying so) may hold back its lanes for this long, until the sweep lists them again.
 */
const WAITING_TTL_SECONDS = 10;

/** Marks each key that is not marked, for ARGV[1] seconds; one round trip however many lanes wake together. */
const MARK_WAITING = `
  local marked = {}
  for index, key in ipairs(KEYS) do
    marked[index] = redis.call('set', key, '1', 'EX', ARGV[1], 'NX') and 1 or 0
  end
  return marked`;

/** The retry of a delivery lives in its row. A job that is done or failed leaves nothing behind. */
const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true };

/** The scheduler for any number of processes: Bull on Redis. */
@Injectable()
export class BullLaneScheduler extends LaneScheduler {
  private announceHandler: (handler: LaneHandler) => void = () => undefined;
  private readonly handler = new Promise<LaneHandler>((resolve) => (this.announceHandler = resolve));

  private isFailing = false;

  constructor(
    @InjectQueue(LANES_QUEUE) private readonly queue: Queue<LaneJob>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    super();
    // Without a listener, a lost connection would end the process; ioredis reconnects by itself.
    queue.on('error', () => undefined);
  }

  async wake(subscriptionIds: readonly string[], inMs = 0): Promise<void> {
    if (inMs > WAKE_HORIZON_MS || !this.isConnected()) return;
    try {
      for (let from = 0; from < subscriptionIds.length; from += MAX_LANES_A_COMMAND) {
        const lanes = subscriptionIds.slice(from, from + MAX_LANES_A_COMMAND);
        if (inMs > 0) await this.wakeLater(lanes, inMs);
        else await this.wakeNow(lanes);
      }
      this.note(false);
    } catch (error) {
      // Redis is a disposable wake-up list: the sweep finds what could not be announced.
      this.note(true, error);
    }
  }

  serve(handler: LaneHandler): Promise<void> {
    this.announceHandler(handler);
    return Promise.resolve();
  }

  /**
   * Serves one job. Its lanes stop counting as waiting before they are looked at: what falls due from here on
   * needs, and gets, a job of its own.
   */
  async take({ lanes }: LaneJob): Promise<void> {
    const handler = await this.handler;
    await this.queue.client.del(lanes.map((id) => this.waitingKey(id)));
    await handler(lanes);
  }

  async stop(): Promise<void> {
    await this.queue.close();
  }

  async isHealthy(): Promise<boolean> {
    if (!this.isConnected()) return false;
    await this.queue.client.ping();
    return !this.isFailing;
  }

  async depth(): Promise<number> {
    return this.isConnected() ? this.queue.getWaitingCount() : 0;
  }

  private async wakeNow(subscriptionIds: readonly string[]): Promise<void> {
    const marked = await this.markWaiting(subscriptionIds);
    const lanes = subscriptionIds.filter((_, index) => marked[index] === 1);
    const jobs = [];
    for (let from = 0; from < lanes.length; from += MAX_LANES_A_JOB) {
      jobs.push({ data: { lanes: lanes.slice(from, from + MAX_LANES_A_JOB) }, opts: JOB_OPTIONS });
    }
    if (jobs.length === 1 && jobs[0]) await this.queue.add(jobs[0].data, jobs[0].opts);
    else if (jobs.length > 1) await this.queue.addBulk(jobs);
  }

  /** @returns for each lane 1 if it was not waiting yet */
  private async markWaiting(subscriptionIds: readonly string[]): Promise<number[]> {
    const keys = subscriptionIds.map((id) => this.waitingKey(id));
    return (await this.queue.client.eval(
      MARK_WAITING,
      keys.length,
      ...keys,
      WAITING_TTL_SECONDS,
    )) as number[];
  }

  /** The job id makes wake-ups of one lane and slot one; once the slot has begun, nobody adds to it any more. */
  private async wakeLater(subscriptionIds: readonly string[], inMs: number): Promise<void> {
    const slot = wakeSlot(Date.now() + inMs);
    await this.queue.addBulk(
      subscriptionIds.map((id) => ({
        data: { lanes: [id] },
        opts: { ...JOB_OPTIONS, jobId: `${id}:${slot}`, delay: slot - Date.now() },
      })),
    );
  }

  /** A Redis that answers but refuses (out of memory, read-only) is worth one line, not one a wake-up. */
  private note(isFailing: boolean, error?: unknown): void {
    if (isFailing === this.isFailing) return;
    this.isFailing = isFailing;
    if (isFailing) this.logger.warn({ err: error }, 'wake.failing');
    else this.logger.info('wake.recovered');
  }

  private isConnected(): boolean {
    return this.queue.client.status === 'ready';
  }

  private waitingKey(subscriptionId: string): string {
    return this.queue.toKey(`waiting:${subscriptionId}`);
  }
}
