import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { Metrics } from '../observability/metrics.js';
import { Batcher } from '../persistence/batcher.js';
import { isDataError } from '../persistence/database.js';
import { EventRepository, NewEvent } from '../persistence/repositories/event.repository.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';

/** Events and deliveries: one that fans out far must not hold up the others for long. */
const MAX_ROWS_A_COMMIT = 1_000;
const LINGER_MS = 1;
/** Bytes of payload that may wait for their commit, whatever the number of events. */
const MAX_WAITING_BYTES = 64 * 1_048_576;
/** Deliveries, of requests that make more than a commit takes, that may wait to be written. */
const MAX_WAITING_DELIVERIES = 20_000;

/** What a request hands in. */
export interface Load {
  events: number;
  bytes: number;
  deliveries: number;
}

/** Whether an event was written, or which event had taken its idempotency key before. */
export type Admission = { isNew: true } | { isNew: false; existingId: string; sameContent: boolean };

/** Writes an event, unless its idempotency key is taken. Resolves after the commit. */
export type Admit = (event: NewEvent) => Promise<Admission>;

/**
 * Where events of concurrent requests become one commit. Resolves only after that commit, then wakes the lanes; the
 * wake-up is not waited for.
 */
@Injectable()
export class EventIntake {
  private readonly batcher = this.newBatcher();
  /** For requests that fill a commit by themselves: the others do not wait behind them. */
  private readonly wideBatcher = this.newBatcher();
  private readonly waiting: Load = { events: 0, bytes: 0, deliveries: 0 };

  constructor(
    private readonly events: EventRepository,
    private readonly scheduler: LaneScheduler,
    private readonly metrics: Metrics,
    private readonly config: Config,
  ) {}

  /**
   * Does `work` with room taken for its events, or nothing of it.
   * @param work writes its events with the function that it is given
   * @throws Problem overloaded
   */
  async withRoom<T>(load: Load, work: (admit: Admit) => Promise<T>): Promise<T> {
    this.refuseOverload(load);
    this.count(load, 1);
    // By the request as a whole: hundreds of events that hundreds want each would be as much in the way.
    const batcher = isWide(load.deliveries) ? this.wideBatcher : this.batcher;
    try {
      return await work((event) => this.admit(batcher, event));
    } finally {
      this.count(load, -1);
    }
  }

  private async admit(batcher: Batcher<NewEvent, Admission>, event: NewEvent): Promise<Admission> {
    try {
      return await batcher.add(event);
    } catch (error) {
      this.metrics.ingestFailed();
      throw error;
    }
  }

  /** Whatever a request hands in has room when nothing else waits. */
  private refuseOverload({ events, bytes, deliveries }: Load): void {
    const { waiting } = this;
    const full =
      (waiting.events > 0 && waiting.events + events > this.config.queueMaxSize) ||
      (waiting.bytes > 0 && waiting.bytes + bytes > MAX_WAITING_BYTES) ||
      (isWide(deliveries) &&
        waiting.deliveries > 0 &&
        waiting.deliveries + deliveries > MAX_WAITING_DELIVERIES);
    if (!full) return;
    this.metrics.overloaded();
    throw new Problem(
      'overloaded',
      `${waiting.events} events wait to be stored (QUEUE_MAXSIZE is ${this.config.queueMaxSize}), with ${waiting.deliveries} deliveries of events that many want. Nothing of this request was stored; send it again after the time in Retry-After.`,
      { retryAfterSeconds: 1 },
    );
  }

  private count({ events, bytes, deliveries }: Load, sign: 1 | -1): void {
    this.waiting.events += sign * events;
    this.waiting.bytes += sign * bytes;
    if (isWide(deliveries)) this.waiting.deliveries += sign * deliveries;
  }

  private newBatcher(): Batcher<NewEvent, Admission> {
    return new Batcher({
      flush: (batch) => this.commit(batch),
      maxWeight: MAX_ROWS_A_COMMIT,
      weigh: rowsOf,
      lingerMs: LINGER_MS,
    });
  }

  private async commit(batch: NewEvent[]): Promise<(Admission | Error)[]> {
    const keysSinceMs = Math.floor(Date.now() - this.config.retentionHours * 3_600_000);
    const written = await this.write(batch, keysSinceMs);
    const lanes = new Set<string>();
    for (const event of batch) {
      if (!written.has(event.id)) continue;
      for (const { id } of event.wantedBy) lanes.add(id);
    }
    void this.scheduler.wake([...lanes]);
    return this.admissions(batch, written, keysSinceMs);
  }

  /** When Postgres refuses the data of one event, the others are written without it. */
  private async write(events: NewEvent[], keysSinceMs: number): Promise<Set<string>> {
    try {
      return await this.events.insert(events, keysSinceMs);
    } catch (error) {
      if (!isDataError(error) || events.length === 1) throw error;
      const middle = events.length >> 1;
      const halves = await Promise.allSettled([
        this.write(events.slice(0, middle), keysSinceMs),
        this.write(events.slice(middle), keysSinceMs),
      ]);
      return new Set(halves.flatMap((half) => (half.status === 'fulfilled' ? [...half.value] : [])));
    }
  }

  private async admissions(
    batch: NewEvent[],
    written: Set<string>,
    keysSinceMs: number,
  ): Promise<(Admission | Error)[]> {
    const repeated = batch.filter(({ id }) => !written.has(id));
    if (repeated.length === 0) return batch.map(() => ({ isNew: true }));
    const keyed = await this.events.findByKeys(
      repeated.map(({ tenantId, idempotencyKey }) => ({ tenantId, key: idempotencyKey ?? '' })),
      keysSinceMs,
    );
    const first = new Map(repeated.map((event, index) => [event.id, keyed[index]]));
    return batch.map((event) => {
      if (written.has(event.id)) return { isNew: true };
      const existing = first.get(event.id);
      if (!existing) return new Error(`Postgres refused the data of event ${event.id}`);
      return {
        isNew: false,
        existingId: existing.eventId,
        sameContent: existing.fingerprint.equals(event.fingerprint),
      };
    });
  }
}

const rowsOf = ({ wantedBy }: NewEvent): number => 1 + wantedBy.length;

const isWide = (deliveries: number): boolean => deliveries >= MAX_ROWS_A_COMMIT;
