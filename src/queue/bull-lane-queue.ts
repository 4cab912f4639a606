import type { Job, Queue } from 'bull';
import { boundedCache } from '../domain/bounded-cache.js';
import { LaneHandler, wakeSlot } from './lane-scheduler.js';
import type { RedisClient } from './redis-connections.js';

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
const WAITING_TTL_SECONDS = 3;

/** How long a queue counts as served after a worker said so, and how long others go by what they last heard. */
const SERVED_TTL_SECONDS = 15;
const SERVED_MAX_AGE_MS = 1_000;

/** Later wake-ups that this process remembers having announced. */
const MAX_ANNOUNCED = 10_000;

/** Marks each key that is not marked, for ARGV[1] seconds; one round trip however many lanes wake together. */
const MARK_WAITING = `
  local marked = {}
  for index, key in ipairs(KEYS) do
    marked[index] = redis.call('set', key, '1', 'EX', ARGV[1], 'NX') and 1 or 0
  end
  return marked`;

/** The retry of a delivery lives in its row. A job that is done or failed leaves nothing behind. */
const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true };

/** One Bull queue of lanes. All of its keys are in one slot of a Redis Cluster, those of Bull and those made here. */
export class BullLaneQueue {
  private readonly now = new Set<string>();
  private readonly later = new Map<string, { lane: string; slot: number }>();
  /** Ids of delayed jobs that are there already, to spare Redis one command a retry of a lane that fails. */
  private readonly announced = boundedCache<true>(MAX_ANNOUNCED);
  private readonly calls = new Set<Promise<void>>();
  private sending: Promise<void> = Promise.resolve();
  private nextSending: Promise<void> | undefined;

  private served = true;
  private servedReadAt = -Infinity;

  constructor(private readonly queue: Queue<LaneJob>) {
    // Without a listener, a lost connection would end the process; ioredis reconnects by itself.
    queue.on('error', () => undefined);
    // Bull would name its connections, which has no use here, and would not handle it when this fails.
    Object.assign(queue, { setWorkerName: () => Promise.resolve() });
  }

  /**
   * Lists lanes; while one command is under way, all that are woken meanwhile wait for the next one together.
   * @throws what Redis or the connection to it says
   */
  wake(lanes: readonly string[], inMs: number): Promise<void> {
    if (inMs > 0) this.noteLater(lanes, wakeSlot(Date.now() + inMs, inMs));
    else for (const lane of lanes) this.now.add(lane);
    if (this.now.size === 0 && this.later.size === 0) return Promise.resolve();
    this.nextSending ??= this.sending.catch(() => undefined).then(() => this.sendNoted());
    return this.nextSending;
  }

  /** Begins to take jobs, up to `concurrency` at once; a Redis that does not answer is waited for. */
  serve(concurrency: number, handler: LaneHandler): void {
    const serving = this.queue.process(concurrency, ({ data }: Job<LaneJob>) => {
      const call = this.take(data, handler);
      this.calls.add(call);
      return call.finally(() => this.calls.delete(call));
    });
    // It ends with the connection, when this is closed before there ever was one.
    serving.catch(() => undefined);
  }

  /** Resolves when no call of the handler is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.calls);
  }

  /** @throws what a wake-up would meet: a Redis may answer and still refuse what is written */
  async probe(): Promise<void> {
    await this.client.set(this.queue.toKey('probe'), '1', 'EX', SERVED_TTL_SECONDS);
  }

  /** Tells processes that notify that a worker takes jobs from this queue. */
  async sayServed(): Promise<void> {
    await this.client.set(this.servedKey, '1', 'EX', SERVED_TTL_SECONDS);
  }

  /** By the last news, which may be a second old; asks for newer ones in the background. */
  isServed(): boolean {
    if (performance.now() - this.servedReadAt > SERVED_MAX_AGE_MS) {
      this.servedReadAt = performance.now();
      this.client.exists(this.servedKey).then(
        (count) => (this.served = count === 1),
        () => (this.served = false),
      );
    }
    return this.served;
  }

  depth(): Promise<number> {
    return this.queue.getWaitingCount();
  }

  async close(): Promise<void> {
    await this.queue.close();
  }

  /**
   * Serves one job. Its lanes stop counting as waiting before they are looked at: what falls due from here on
   * needs, and gets, a job of its own.
   */
  private async take({ lanes }: LaneJob, handler: LaneHandler): Promise<void> {
    await this.client.del(lanes.map((lane) => this.waitingKey(lane)));
    await handler(lanes);
  }

  private noteLater(lanes: readonly string[], slot: number): void {
    for (const lane of lanes) {
      const id = `${lane}:${slot}`;
      if (!this.announced.has(id)) this.later.set(id, { lane, slot });
    }
  }

  private sendNoted(): Promise<void> {
    const lanes = [...this.now];
    const later = [...this.later];
    this.now.clear();
    this.later.clear();
    this.nextSending = undefined;
    this.sending = this.send(lanes, later);
    return this.sending;
  }

  private async send(lanes: string[], later: [id: string, wake: { lane: string; slot: number }][]) {
    try {
      for (const part of chunks(lanes, MAX_LANES_A_COMMAND)) await this.wakeNow(part);
      for (const part of chunks(later, MAX_LANES_A_COMMAND)) await this.wakeLater(part);
    } catch (error) {
      // It may have lost what it was told.
      this.announced.clear();
      throw error;
    }
  }

  private async wakeNow(lanes: string[]): Promise<void> {
    const marked = await this.markWaiting(lanes);
    const jobs = chunks(
      lanes.filter((_, index) => marked[index] === 1),
      MAX_LANES_A_JOB,
    ).map((part) => ({ data: { lanes: part }, opts: JOB_OPTIONS }));
    if (jobs.length === 1 && jobs[0]) await this.queue.add(jobs[0].data, jobs[0].opts);
    else if (jobs.length > 1) await this.queue.addBulk(jobs);
  }

  /** @returns for each lane 1 if it was not waiting yet */
  private async markWaiting(lanes: string[]): Promise<number[]> {
    const keys = lanes.map((lane) => this.waitingKey(lane));
    return (await this.client.eval(MARK_WAITING, keys.length, ...keys, WAITING_TTL_SECONDS)) as number[];
  }

  /** The job id makes wake-ups of one lane and slot one; once the slot has begun, no process adds to it any more. */
  private async wakeLater(wakes: [id: string, wake: { lane: string; slot: number }][]): Promise<void> {
    const now = Date.now();
    await this.queue.addBulk(
      wakes.map(([jobId, { lane, slot }]) => ({
        data: { lanes: [lane] },
        opts: { ...JOB_OPTIONS, jobId, delay: Math.max(slot - now, 1) },
      })),
    );
    for (const [id] of wakes) this.announced.set(id, true);
  }

  private get client(): RedisClient {
    return this.queue.client as RedisClient;
  }

  private waitingKey(lane: string): string {
    return this.queue.toKey(`waiting:${lane}`);
  }

  private get servedKey(): string {
    return this.queue.toKey('served');
  }
}

function chunks<T>(items: T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
