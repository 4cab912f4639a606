import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { DAY_MS, Keep } from '../persistence/repositories/day-partition.js';
import { HeartbeatRepository } from '../persistence/repositories/heartbeat.repository.js';
import { PartitionRepository } from '../persistence/repositories/partition.repository.js';
import { KEY_HOURS } from '../persistence/repositories/idempotent-request.repository.js';
import { PurgePlace, PurgeRepository, PurgeStep } from '../persistence/repositories/purge.repository.js';
import { TenantPurge, TenantRows } from './tenant-purge.js';

const NEVER = new AbortController().signal;

const HEARTBEAT_SECONDS = 86_400;

/** What one run did. */
export interface CleanupCounts {
  /** Generations of idempotency keys that were forgotten: 0 or 1. */
  key_generations: number;
  days_dropped: number;
  /** Days of which so much is kept that they stayed, without what has had its time. */
  days_rewritten: number;
  /** Whether something was left for the next run because its tables could not be locked in time. */
  postponed: boolean;
  deliveries: number;
  attempts: number;
  events: number;
  /** Idempotency keys that went with the events of tenants with a retention of their own. */
  keys: number;
  expired: number;
  audit_entries: number;
  /** Rows of the statistics. */
  statistics: number;
  /** Answers that were kept for repetitions. */
  idempotent_requests: number;
}

type Days = Pick<CleanupCounts, 'days_dropped' | 'days_rewritten' | 'postponed'> & {
  /** Where rows have to be purged one by one. */
  places: PurgePlace[];
};

const NOT_LOCKED: Days = { days_dropped: 0, days_rewritten: 0, postponed: true, places: [] };

/**
 * Retention: what is purged. `cleanup.task.ts` says when.
 *
 * Events, and deliveries that have ended, live for RETENTION_HOURS, a delivery from its end; dead letters live for
 * DLQ_RETENTION_DAYS from their death. What is still due is never purged; deliveries whose subscription is switched off,
 * or whose tenant is suspended, become dead letters after DLQ_RETENTION_DAYS. A tenant's own retention, where it is
 * shorter, goes for all of this but dead letters. The audit log goes back AUDIT_RETENTION_DAYS, and statistics
 * STATS_RETENTION_DAYS, by the minute RETENTION_HOURS. All of it is safe to stop and to repeat.
 */
@Injectable()
export class CleanupService {
  constructor(
    private readonly partitions: PartitionRepository,
    private readonly purges: PurgeRepository,
    private readonly tenants: TenantPurge,
    private readonly heartbeats: HeartbeatRepository,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @param stopping ends the run after its present step */
  async run(nowMs: number, stopping: AbortSignal = NEVER): Promise<CleanupCounts> {
    const startedAt = performance.now();
    const beforeMs = Math.floor(nowMs - this.config.retentionHours * 3_600_000);
    const keep = { completedSinceMs: beforeMs, deadSinceMs: nowMs - this.config.dlqRetentionDays * DAY_MS };

    // Keys before their events: a key must never name an event that is gone.
    const keys = await this.purges.rotateKeys(beforeMs, nowMs);
    const { places, ...days } = keys === 'busy' ? NOT_LOCKED : await this.dropDays(beforeMs, keep, stopping);
    const rows = { deliveries: 0, attempts: 0, events: 0, keys: 0 };
    for (const place of places) {
      // As with a day that cannot be dropped: after that it may also lack some of its partitions.
      await this.purgeRows(place, beforeMs, keep, rows, stopping).catch((error: unknown) => {
        this.logger.error({ err: error, place }, 'cleanup.rows_failed');
      });
    }
    await this.tenants.runRetentions(nowMs, rows, { stopping });
    const expired = await inSteps<true>(stopping, () => this.purges.expireBatch(keep.deadSinceMs, nowMs));
    const auditBeforeMs = Math.floor(nowMs - this.config.auditRetentionDays * DAY_MS);
    const audit_entries = await inSteps<string>(stopping, (at) =>
      this.purges.deleteAuditEntries(auditBeforeMs, at),
    );
    const statistics = await this.purgeStatistics(nowMs, beforeMs, stopping);
    const answersBeforeMs = nowMs - KEY_HOURS * 3_600_000;
    const idempotent_requests = await inSteps<true>(stopping, () =>
      this.purges.deleteIdempotentRequests(answersBeforeMs),
    );
    await this.heartbeats.removeOlderThan(HEARTBEAT_SECONDS);

    const counts = {
      key_generations: keys === 'rotated' ? 1 : 0,
      ...days,
      ...rows,
      expired,
      audit_entries,
      statistics,
      idempotent_requests,
    };
    this.logger.info(
      { ...counts, duration_ms: Math.round(performance.now() - startedAt) },
      'cleanup.finished',
    );
    return counts;
  }

  /** Drops whole days. @returns also the places whose rows have to be purged one by one */
  private async dropDays(beforeMs: number, keep: Keep, stopping: AbortSignal): Promise<Days> {
    const result: Days = { days_dropped: 0, days_rewritten: 0, postponed: false, places: ['default'] };
    for (const day of await this.partitions.days()) {
      if (day + DAY_MS > beforeMs || stopping.aborted || result.postponed) break;
      const outcome = await this.partitions.drop(day, keep).catch((error: unknown) => {
        // One day that cannot be handled must not keep all the others from being purged.
        this.logger.error({ err: error, day: new Date(day).toISOString() }, 'cleanup.day_failed');
        return 'crowded' as const;
      });
      if (outcome === 'dropped') result.days_dropped++;
      if (outcome === 'rewritten') result.days_rewritten++;
      if (outcome === 'rewritten' || outcome === 'crowded') result.places.push({ day });
      if (outcome === 'busy') result.postponed = true;
    }
    return result;
  }

  private async purgeRows(
    place: PurgePlace,
    beforeMs: number,
    keep: Keep,
    rows: TenantRows,
    stopping: AbortSignal,
  ): Promise<void> {
    rows.deliveries += await inSteps<string>(stopping, (at) =>
      this.purges.deleteDeliveries(place, beforeMs, keep, at),
    );
    rows.attempts += await inSteps<string>(stopping, (at) => this.purges.deleteAttempts(place, beforeMs, at));
    rows.events += await inSteps<string>(stopping, (at) => this.purges.deleteEvents(place, beforeMs, at));
  }

  private async purgeStatistics(
    nowMs: number,
    minutesBeforeMs: number,
    stopping: AbortSignal,
  ): Promise<number> {
    const hoursBeforeMs = Math.floor(nowMs - this.config.statsRetentionDays * DAY_MS);
    const minutes = await inSteps<true>(stopping, () =>
      this.purges.deleteStatistics('minute', minutesBeforeMs),
    );
    return (
      minutes + (await inSteps<true>(stopping, () => this.purges.deleteStatistics('hour', hoursBeforeMs)))
    );
  }
}

/** @returns how many rows the steps have purged together, until there was none left or the process stops */
async function inSteps<Cursor>(
  stopping: AbortSignal,
  step: (at: Cursor | null) => Promise<PurgeStep<Cursor>>,
): Promise<number> {
  let total = 0;
  let at: Cursor | null = null;
  do {
    const { count, next }: PurgeStep<Cursor> = await step(at);
    total += count;
    at = next;
  } while (at !== null && !stopping.aborted);
  return total;
}
