import { Injectable } from '@nestjs/common';
import { LEAST_UUID, uuidV7Floor } from '../../domain/uuid-v7.js';
import { arrayLiteral } from '../array-literal.js';
import { Connection, Database } from '../database.js';
import { idsOfSameMillisecond } from './delivery.repository.js';
import type { PurgeStep } from './purge.repository.js';

/**
 * What of a tenant has to go: everything that no worker has in hand, or what is of events from before a time and ended
 * before it. Dead letters have a time of their own, and are left to it.
 */
export type TenantShare = 'everything' | { endedBeforeMs: number };

/** The two generations of idempotency keys, in the order in which they are locked everywhere. */
export const KEY_TABLES = ['idempotency_key_old', 'idempotency_key'] as const;

/** What was counted of a tenant, and where what is not added up yet waits. */
export const STATISTICS_TABLES = ['delivery_stat_delta', 'delivery_stat', 'dead_letter_count'] as const;

/** What else is deleted by its tenant alone. */
export const OTHER_TABLES = [...STATISTICS_TABLES, 'idempotent_request'] as const;

const ROWS_A_STEP = 2_000;
/** Deliveries and their attempts: a delivery may have a hundred of them. */
const MAX_DELETED = 20_000;
/** Payloads lie in pieces of 2 KB, each a row to delete. */
const MAX_PAYLOAD_BYTES = 64 * 1_048_576;

const GREATEST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

interface Page {
  ids: string[];
  /** The bounds of these ids, for the planner: they name the partitions. */
  low: string;
  high: string;
  next: string | null;
}

/**
 * What a tenant owns, deleted in short steps that commit by themselves; the caller goes on at `next`, or begins anew.
 *
 * Every step looks at no more than a page of the tenant's own rows, from the newest to the oldest: the engine, which
 * still gives up what is open in the lanes of a tenant that was deleted, comes from the other end.
 */
@Injectable()
export class TenantPurgeRepository {
  constructor(private readonly database: Database) {}

  /** The tenants whose deletion was asked for, the longest ago first. */
  async doomed(): Promise<string[]> {
    const rows = await this.database.run<{ id: string }>(
      `select id from tenant where deletion_requested_at is not null order by deletion_requested_at, id
       /* all tenants: those to be deleted */`,
    );
    return rows.map(({ id }) => id);
  }

  /** The tenants with a retention of their own, in hours. */
  ownRetentions(): Promise<{ id: string; hours: number }[]> {
    return this.database.run<{ id: string; hours: number }>(
      `select id, retention_hours as hours from tenant
       where retention_hours is not null and deletion_requested_at is null order by id
       /* all tenants: each with its own time */`,
    );
  }

  /** Deletes deliveries with their attempts. Uses delivery_by_tenant, delivery_pkey, delivery_attempt_pkey. */
  async deleteDeliveries(
    tenantId: string,
    share: TenantShare,
    before: string | null,
  ): Promise<PurgeStep<string> & { attempts: number }> {
    const page = await this.page('delivery', '1 + attempt_count', MAX_DELETED, tenantId, share, before);
    if (page.ids.length === 0) return { count: 0, attempts: 0, next: null };
    const goes =
      share === 'everything'
        ? '(d.leased_until is null or d.leased_until <= now())'
        : 'd.next_attempt_at is null and d.dead_at is null and d.completed_at < $5';
    const [deleted] = await this.database.run<{ count: number; attempts: number }>(
      `with gone as (
         delete from delivery d
         where d.tenant_id = $1 and d.id = any ($2::uuid[]) and d.id >= $3 and d.id <= $4
           and ${goes}
         returning d.id
       ), attempts as (
         delete from delivery_attempt a
         where a.delivery_id = any (array(select id from gone)) and a.delivery_id >= $3 and a.delivery_id <= $4
         returning 1 /* all tenants: of deliveries that are gone */
       )
       select (select count(*)::int from gone) as count, (select count(*)::int from attempts) as attempts`,
      [
        tenantId,
        arrayLiteral(page.ids),
        page.low,
        page.high,
        ...(share === 'everything' ? [] : [new Date(share.endedBeforeMs)]),
      ],
    );
    return { count: deleted?.count ?? 0, attempts: deleted?.attempts ?? 0, next: page.next };
  }

  /**
   * Deletes events that have no delivery (any more), with the idempotency keys that name them: a key must never name an
   * event that is gone. Uses event_by_tenant, event_pkey, delivery_pkey and the primary keys of idempotency keys.
   */
  async deleteEvents(
    tenantId: string,
    share: TenantShare,
    before: string | null,
  ): Promise<PurgeStep<string> & { keys: number }> {
    const weight = 'octet_length(payload)';
    const page = await this.page('event', weight, MAX_PAYLOAD_BYTES, tenantId, share, before);
    if (page.ids.length === 0) return { count: 0, keys: 0, next: null };
    const ranges = page.ids.map(idsOfSameMillisecond);
    // A key may have been taken anew by an event that stays, hence its event_id. `is true` keeps that from becoming a
    // join, which the planner, who expects one row, would do as a nested loop: 380 ms a step instead of 3 ms. For events
    // it keeps the planner at their primary key: by event_by_type it would look for each id under each type.
    const keysOf = (table: string) => `
      delete from ${table} k
      where k.tenant_id = $1 and k.key = any (array(select idempotency_key from gone))
        and (k.event_id in (select id from gone)) is true
      returning 1`;
    const [deleted] = await this.database.run<{ count: number; keys: number }>(
      `with gone as (
         delete from event e
         where (e.tenant_id = $1) is true and e.id >= $5 and e.id <= $6 and e.id = any (array(
             select w.id from unnest($2::uuid[], $3::uuid[], $4::uuid[]) as w(id, low, high)
             where (select true from delivery d where d.id >= w.low and d.id <= w.high and d.event_id = w.id limit 1
                    /* all tenants: of events that are this one's, or stay */) is null))
         returning e.id, e.idempotency_key /* all tenants: only those of this one, whatever the ids */
       ), old_keys as (${keysOf(KEY_TABLES[0])}), keys as (${keysOf(KEY_TABLES[1])})
       select (select count(*)::int from gone) as count,
              (select count(*)::int from old_keys) + (select count(*)::int from keys) as keys`,
      [
        tenantId,
        arrayLiteral(page.ids),
        arrayLiteral(ranges.map(([low]) => low)),
        arrayLiteral(ranges.map(([, high]) => high)),
        page.low,
        page.high,
      ],
    );
    return { count: deleted?.count ?? 0, keys: deleted?.keys ?? 0, next: page.next };
  }

  /** Deletes idempotency keys whatever they name: their events may be gone long since. Uses the primary key. */
  async deleteKeys(
    tenantId: string,
    table: (typeof KEY_TABLES)[number],
    after: string | null,
  ): Promise<PurgeStep<string>> {
    const [deleted] = await this.database.run<{ count: number; last: string | null }>(
      `with batch as materialized (
         select key from ${table} where tenant_id = $1 and ($2::text is null or key > $2) order by key limit $3
       ), gone as (
         delete from ${table} k where k.tenant_id = $1 and k.key = any (array(select key from batch)) returning 1
       )
       select (select count(*)::int from gone) as count,
              (select key from batch order by key offset $3 - 1) as last`,
      [tenantId, after, ROWS_A_STEP],
    );
    return { count: deleted?.count ?? 0, next: deleted?.last ?? null };
  }

  /** Deletes rows of one of the other tables. Uses an index that begins with the tenant. */
  async deleteOthers(tenantId: string, table: (typeof OTHER_TABLES)[number]): Promise<PurgeStep<true>> {
    const rows = await this.database.run(
      `delete from ${table} s
       where s.ctid = any (array(select w.ctid from ${table} w where w.tenant_id = $1 limit $2))
         and (s.tenant_id = $1) is true
       returning 1 /* all tenants: only those of this one, wherever they lie */`,
      [tenantId, ROWS_A_STEP],
    );
    return { count: rows.length, next: rows.length < ROWS_A_STEP ? null : true };
  }

  /**
   * Deletes the tenant itself, with what refers to it, once nothing else of it is left.
   * @param afterSeconds since its deletion was asked for, at least: until then something may still arrive
   * @returns whether it is gone; false also when it was before
   */
  async deleteTenant(
    tenantId: string,
    afterSeconds: number,
    connection: Connection = this.database,
  ): Promise<boolean> {
    const nothingIn = (table: string) => `not exists (select from ${table} where tenant_id = $1)`;
    const rows = await connection.run(
      `delete from tenant
       where id = $1 and deletion_requested_at <= now() - make_interval(secs => $2)
         and ${['delivery', 'event', ...KEY_TABLES, ...OTHER_TABLES].map(nothingIn).join(' and ')}
       returning id`,
      [tenantId, afterSeconds],
    );
    return rows.length === 1;
  }

  /**
   * The tenant's next rows below `before`, the newest first, as many as weigh no more than `maxWeight` together, but one
   * at least.
   *
   * Compared as pairs: with the tenant for a constant the planner would trust its statistics, and where those still know
   * of many rows of a tenant that has lost them, it would walk the primary key through everybody's.
   */
  private async page(
    table: 'delivery' | 'event',
    weight: string,
    maxWeight: number,
    tenantId: string,
    share: TenantShare,
    before: string | null,
  ): Promise<Page> {
    const first = share === 'everything' ? GREATEST_ID : uuidV7Floor(share.endedBeforeMs);
    const rows = await this.database.run<{ id: string; weight: number }>(
      `select id, ${weight} as weight from ${table}
       where (tenant_id, id) < ($1, $2::uuid) and (tenant_id, id) >= ($1, $3::uuid)
       order by tenant_id desc, id desc limit $4 /* all tenants: the pairs keep it to this one */`,
      [tenantId, before ?? first, LEAST_UUID, ROWS_A_STEP],
    );
    let sum = 0;
    const ids = rows
      .filter((row, index) => (sum += row.weight) <= maxWeight || index === 0)
      .map(({ id }) => id);
    const [high = '', low = ''] = [ids[0], ids.at(-1)];
    const isLast = rows.length < ROWS_A_STEP && ids.length === rows.length;
    return { ids, low, high, next: isLast ? null : low };
  }
}
