import { Injectable } from '@nestjs/common';
import { uuidV7Floor } from '../../domain/uuid-v7.js';
import { Database } from '../database.js';
import { Keep, partitionOf } from './partition.repository.js';

/** One bounded step of a walk over a table. */
export interface PurgeStep<Cursor> {
  count: number;
  /** Where the next step begins; null when the walk is over. */
  next: Cursor | null;
}

/** Where rows are purged one by one: a day's partitions that were too crowded to be dropped, or the default ones. */
export type PurgePlace = { day: number } | 'default';

const BLOCKS_A_STEP = 1_000;
const ROWS_A_STEP = 2_000;
const LEAST_ID = '00000000-0000-0000-0000-000000000000';

/** What has had its time. Each method is one short statement; whoever calls goes on at `next`. */
@Injectable()
export class PurgeRepository {
  constructor(private readonly database: Database) {}

  /**
   * Claims the next run of a periodic task for this process.
   * @returns false when any process began one less than `everyMs` ago
   */
  async beginRun(task: string, everyMs: number): Promise<boolean> {
    const rows = await this.database.run(
      `insert into maintenance_run as run (task, started_at) values ($1, now())
       on conflict (task) do update set started_at = now()
       where run.started_at <= now() - make_interval(secs => $2) returning task`,
      [task, everyMs / 1000],
    );
    return rows.length === 1;
  }

  /**
   * Forgets the idempotency keys of events that were received before `beforeMs`. It walks the table once by its
   * blocks: batches that look for the oldest keys would read over all that was deleted before, each of them.
   */
  async deleteKeys(beforeMs: number, fromBlock: number | null): Promise<PurgeStep<number>> {
    const from = fromBlock ?? 0;
    const to = from + BLOCKS_A_STEP;
    const [row] = await this.database.run<{ count: number; more: boolean }>(
      `with deleted as (
         delete from idempotency_key where ctid >= $1::tid and ctid < $2::tid and event_id < $3 returning 1
       )
       select (select count(*)::int from deleted) as count,
              pg_relation_size('idempotency_key') > $4 * current_setting('block_size')::bigint as more`,
      [`(${from},0)`, `(${to},0)`, uuidV7Floor(beforeMs), to],
    );
    return { count: row?.count ?? 0, next: row?.more ? to : null };
  }

  /** Deletes deliveries of events from before `beforeMs` that are terminal and not to be kept. Uses the primary key. */
  async deleteDeliveries(
    place: PurgePlace,
    beforeMs: number,
    keep: Keep,
    after: string | null,
  ): Promise<PurgeStep<string>> {
    const table = tableOf('delivery', place);
    return this.step(
      `with batch as materialized (
         select id from ${table} where id > $1 and id < $2 order by id limit $3
       ), deleted as (
         delete from ${table} d using batch b
         where d.id = b.id and d.next_attempt_at is null and d.completed_at < $4
           and (d.dead_at is null or d.dead_at < $5)
         returning 1
       )`,
      [
        after ?? LEAST_ID,
        uuidV7Floor(beforeMs),
        ROWS_A_STEP,
        new Date(keep.completedSinceMs),
        new Date(keep.deadSinceMs),
      ],
    );
  }

  /** Deletes attempts, at events from before `beforeMs`, whose delivery is gone. Uses the primary keys. */
  async deleteAttempts(
    place: PurgePlace,
    beforeMs: number,
    after: string | null,
  ): Promise<PurgeStep<string>> {
    const table = tableOf('delivery_attempt', place);
    return this.step(
      `with batch as materialized (
         select distinct delivery_id as id from ${table} where delivery_id > $1 and delivery_id < $2
         order by delivery_id limit $3
       ), deleted as (
         delete from ${table} a using batch b
         where a.delivery_id = b.id and not exists (select 1 from delivery d where d.id = b.id)
         returning 1
       )`,
      [after ?? LEAST_ID, uuidV7Floor(beforeMs), ROWS_A_STEP],
    );
  }

  /**
   * Deletes events from before `beforeMs` that have no delivery (any more). Uses the primary keys: deliveries carry
   * the millisecond of their event.
   */
  async deleteEvents(place: PurgePlace, beforeMs: number, after: string | null): Promise<PurgeStep<string>> {
    const table = tableOf('event', place);
    return this.step(
      `with batch as materialized (
         select id, left(id::text, 13) as time from ${table} where id > $1 and id < $2 order by id limit $3
       ), deleted as (
         delete from ${table} e using batch b
         where e.id = b.id and not exists (
           select 1 from delivery d
           where d.id >= (b.time || '-0000-0000-000000000000')::uuid
             and d.id <= (b.time || '-ffff-ffff-ffffffffffff')::uuid and d.event_id = b.id
         )
         returning 1
       )`,
      [after ?? LEAST_ID, uuidV7Floor(beforeMs), ROWS_A_STEP],
    );
  }

  /**
   * Gives up deliveries that have been due since before `dueBeforeMs` because their subscription is switched off:
   * dead letters of reason `expired`. What a worker has in hand is left to it. Uses delivery_due.
   */
  async expireBatch(dueBeforeMs: number, nowMs: number): Promise<PurgeStep<true>> {
    const rows = await this.database.run(
      `update delivery d
       set status = 'dead', dead_reason = 'expired', dead_at = $2, completed_at = $2, next_attempt_at = null,
           leased_until = null
       where d.id = any (array(
           select w.id from subscription s cross join lateral (
             select w.id from delivery w
             where w.subscription_id = s.id and w.next_attempt_at < $1 and (w.leased_until is null or w.leased_until <= $2)
             limit $3
           ) w
           where not s.is_active limit $3
         )) and d.next_attempt_at < $1 and (d.leased_until is null or d.leased_until <= $2)
       returning d.id`,
      [new Date(dueBeforeMs), new Date(nowMs), ROWS_A_STEP],
    );
    return { count: rows.length, next: rows.length < ROWS_A_STEP ? null : true };
  }

  /** @param statement ends with the common table expressions `batch` (with `id`, limited by $3) and `deleted` */
  private async step(statement: string, values: unknown[]): Promise<PurgeStep<string>> {
    const [row] = await this.database.run<{ count: number; seen: number; last: string | null }>(
      `${statement}
       select (select count(*)::int from deleted) as count, (select count(*)::int from batch) as seen,
              (select id from batch order by id desc limit 1) as last`,
      values,
    );
    const { count = 0, seen = 0, last = null } = row ?? {};
    return { count, next: seen < ROWS_A_STEP ? null : last };
  }
}

function tableOf(table: 'event' | 'delivery' | 'delivery_attempt', place: PurgePlace): string {
  return place === 'default' ? `${table}_default` : partitionOf(table, place.day);
}
