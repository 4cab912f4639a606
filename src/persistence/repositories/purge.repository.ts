import { Injectable } from '@nestjs/common';
import { LEAST_UUID, uuidV7Floor } from '../../domain/uuid-v7.js';
import { Database } from '../database.js';
import { Keep, partitionOf, Table } from './day-partition.js';
import { idsOfSameMillisecond } from './delivery.repository.js';
import { changeLayout, isLockConflict } from './partition-lock.js';

/** One bounded step of a walk over a table. */
export interface PurgeStep<Cursor> {
  count: number;
  /** Where the next step begins; null when the walk is over. */
  next: Cursor | null;
}

/** Where rows are purged one by one: a day's partitions that were too crowded to be dropped, or the default ones. */
export type PurgePlace = { day: number } | 'default';

const ROWS_A_STEP = 2_000;

const SWAP_KEY_GENERATIONS = `
  alter table idempotency_key rename to idempotency_key_next;
  alter table idempotency_key_old rename to idempotency_key;
  alter table idempotency_key_next rename to idempotency_key_old;
  alter table idempotency_key_old rename constraint idempotency_key_pkey to idempotency_key_next_pkey;
  alter table idempotency_key rename constraint idempotency_key_old_pkey to idempotency_key_pkey;
  alter table idempotency_key_old rename constraint idempotency_key_next_pkey to idempotency_key_old_pkey`;

/** What has had its time. Each method takes a short step and commits it; the caller goes on at `next`. */
@Injectable()
export class PurgeRepository {
  constructor(private readonly database: Database) {}

  /**
   * Begins a generation of idempotency keys when the present one began before `beforeMs`: that becomes the old one, and
   * what the old one held is forgotten, all of it twice as old. The two tables change names, so that code that looks keys
   * up and inserts them knows nothing of it: its statement waits for the lock, is planned again with the new names, and
   * takes its snapshot after that, so it finds every key that was ever committed in the other table.
   */
  async rotateKeys(beforeMs: number, nowMs: number): Promise<'rotated' | 'young' | 'busy'> {
    try {
      return await changeLayout(this.database, async (connection) => {
        const rows = await connection.run(
          `update maintenance_run set started_at = $2 where task = 'key-generation' and started_at <= $1 returning task`,
          [new Date(beforeMs), new Date(nowMs)],
        );
        if (rows.length === 0) return 'young';
        // In the order of the statement that inserts events: the other way around each would wait for the other.
        await connection.run(
          'lock table idempotency_key_old, idempotency_key in access exclusive mode; truncate idempotency_key_old',
        );
        await connection.run(SWAP_KEY_GENERATIONS);
        return 'rotated';
      });
    } catch (error) {
      if (isLockConflict(error)) return 'busy';
      throw error;
    }
  }

  /** Deletes deliveries of events from before `beforeMs` that are terminal and not to be kept. */
  async deleteDeliveries(
    place: PurgePlace,
    beforeMs: number,
    keep: Keep,
    after: string | null,
  ): Promise<PurgeStep<string>> {
    const table = tableOf('delivery', place);
    const { low, high, next } = await this.window(table, 'id', beforeMs, after);
    const count = await this.delete(
      `delete from ${table} d
       where d.id > $1 and d.id <= $2 and d.next_attempt_at is null and d.completed_at < $3
         and (d.dead_at is null or d.dead_at < $4) /* all tenants: it goes by age */`,
      [low, high, new Date(keep.completedSinceMs), new Date(keep.deadSinceMs)],
    );
    return { count, next };
  }

  /** Deletes attempts, at events from before `beforeMs`, whose delivery is gone. */
  async deleteAttempts(
    place: PurgePlace,
    beforeMs: number,
    after: string | null,
  ): Promise<PurgeStep<string>> {
    const table = tableOf('delivery_attempt', place);
    const { low, high, next } = await this.window(table, 'delivery_id', beforeMs, after);
    const count = await this.delete(
      `delete from ${table} a
       where a.delivery_id = any (array(
         select w.delivery_id from ${table} w where w.delivery_id > $1 and w.delivery_id <= $2
         except select d.id from delivery d where d.id > $1 and d.id <= $2
       )) /* all tenants: it goes by age */`,
      [low, high],
    );
    return { count, next };
  }

  /** Deletes events from before `beforeMs` that have no delivery (any more). */
  async deleteEvents(place: PurgePlace, beforeMs: number, after: string | null): Promise<PurgeStep<string>> {
    const table = tableOf('event', place);
    const { low, high, next } = await this.window(table, 'id', beforeMs, after);
    const count = await this.delete(
      `delete from ${table} e
       where e.id = any (array(
         select w.id from ${table} w where w.id > $1 and w.id <= $2
         except select d.event_id from delivery d where d.id >= $3 and d.id <= $4
       )) /* all tenants: it goes by age */`,
      [low, high, idsOfSameMillisecond(low)[0], idsOfSameMillisecond(high)[1]],
    );
    return { count, next };
  }

  /**
   * Gives up deliveries that have been due since before `dueBeforeMs` because their subscription is switched off
   * or their tenant suspended:
   * dead letters of reason `expired`. What a worker has in hand is left to it. Uses delivery_due.
   */
  async expireBatch(dueBeforeMs: number, nowMs: number): Promise<PurgeStep<true>> {
    const rows = await this.database.run(
      `with expired as (
       update delivery d
       set status = 'dead', dead_reason = 'expired', dead_at = $2, completed_at = $2, next_attempt_at = null,
           leased_until = null
       where d.id = any (array(
           select w.id from subscription s join tenant t on t.id = s.tenant_id cross join lateral (
             select w.id from delivery w
             where w.subscription_id = s.id and w.next_attempt_at < $1 and (w.leased_until is null or w.leased_until <= $2)
             limit $3
           ) w
           where not s.is_active or t.suspended limit $3
         )) and d.next_attempt_at < $1 and (d.leased_until is null or d.leased_until <= $2)
       returning d.id, d.tenant_id, d.subscription_id
       ), counted as (
         insert into delivery_stat_delta (tenant_id, subscription_id, minute, dead)
         select tenant_id, subscription_id, date_trunc('minute', now()), count(*) from expired
         group by tenant_id, subscription_id
       )
       select id from expired /* all tenants: what is switched off */`,
      [new Date(dueBeforeMs), new Date(nowMs), ROWS_A_STEP],
    );
    return { count: rows.length, next: rows.length < ROWS_A_STEP ? null : true };
  }

  /** Deletes rows of the statistics from before `beforeMs`. Uses delivery_stat_by_age. */
  async deleteStatistics(resolution: 'minute' | 'hour', beforeMs: number): Promise<PurgeStep<true>> {
    const count = await this.delete(
      `delete from delivery_stat s
       where s.ctid = any (array(
           select w.ctid from delivery_stat w where w.resolution || '' = $1 and w.at < $2 order by w.at limit $3
         )) and (s.resolution = $1 and s.at < $2) is true /* all tenants: it goes by age alone */`,
      [resolution, new Date(beforeMs), ROWS_A_STEP],
    );
    return { count, next: count < ROWS_A_STEP ? null : true };
  }

  /** Deletes what was kept of requests from before `beforeMs`. Uses idempotent_request_by_age. */
  async deleteIdempotentRequests(beforeMs: number): Promise<PurgeStep<true>> {
    const count = await this.delete(
      `delete from idempotent_request r
       where r.created_at < $1 and r.id = any (array(
         select w.id from idempotent_request w where w.created_at < $1 order by w.created_at limit $2
       )) /* all tenants: it goes by age alone */`,
      [new Date(beforeMs), ROWS_A_STEP],
    );
    return { count, next: count < ROWS_A_STEP ? null : true };
  }

  /** Deletes entries of the audit log from before `beforeMs`. */
  async deleteAuditEntries(beforeMs: number, after: string | null): Promise<PurgeStep<string>> {
    const { low, high, next } = await this.window('audit_log', 'id', beforeMs, after);
    const count = await this.delete(
      `delete from audit_log a where a.id > $1 and a.id <= $2 /* all tenants: it goes by age alone */`,
      [low, high],
    );
    return { count, next };
  }

  /**
   * The next rows to look at: above `low` up to and with `high`. A range of the primary key is the same short work
   * whatever the planner believes, and however many rows before it have to stay.
   */
  private async window(table: string, key: string, beforeMs: number, after: string | null) {
    const [low, end] = [after ?? LEAST_UUID, uuidV7Floor(beforeMs)];
    const [last] = await this.database.run<{ id: string }>(
      `select ${key} as id from ${table} where ${key} > $1 and ${key} < $2 order by ${key} offset $3 limit 1
       /* all tenants: it goes by age */`,
      [low, end, ROWS_A_STEP - 1],
    );
    return { low, high: last?.id ?? end, next: last?.id ?? null };
  }

  /** @returns how many rows it deleted */
  private async delete(statement: string, values: unknown[]): Promise<number> {
    const [row] = await this.database.run<{ count: number }>(
      `with deleted as (${statement} returning 1) select count(*)::int as count from deleted`,
      values,
    );
    return row?.count ?? 0;
  }
}

function tableOf(table: Table, place: PurgePlace): string {
  return place === 'default' ? `${table}_default` : partitionOf(table, place.day);
}
