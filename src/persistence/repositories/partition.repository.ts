import { Injectable } from '@nestjs/common';
import { Connection, Database } from '../database.js';
import {
  DAY_MS,
  dayBegin,
  IS_DUE_OR_DEAD,
  IS_KEPT,
  Keep,
  keptValues,
  keyOf,
  partitionOf,
  rangeOf,
  SCAN_MS,
  Table,
  TABLES,
} from './day-partition.js';
import { rewriteDay } from './day-rewrite.js';
import { changeLayout, isLockConflict } from './partition-lock.js';

const DAYS_AHEAD = 3;

/**
 * What may outlive its day and still be moved while the table is locked: deliveries, and bytes of payload or attempts
 * that go with them. 9,000 deliveries with 64,000 attempts kept the lock for 0.7 s on a machine with much else to do.
 */
const MAX_MOVED = 5_000;
const MAX_MOVED_BYTES = 16 * 1_048_576;
/** What an attempt takes beside the body that was answered. */
const ATTEMPT_BYTES = 512;

/**
 * `rewritten`, `crowded`: too much of the day must be kept to move it, so it stays, with or without having been
 * rewritten to what is kept; what has had its time since has to be purged row by row. `busy`: the tables could not be
 * locked in time; the next call goes on where this one stopped.
 */
export type DropOutcome = 'dropped' | 'rewritten' | 'crowded' | 'busy';

/** The daily partitions of event, delivery and delivery_attempt. */
@Injectable()
export class PartitionRepository {
  constructor(private readonly database: Database) {}

  /** Makes the partitions of today and the days ahead that do not exist yet. */
  async createAhead(nowMs: number): Promise<void> {
    const today = dayBegin(nowMs);
    for (let day = today; day <= today + DAYS_AHEAD * DAY_MS; day += DAY_MS) {
      for (const table of TABLES) await this.create(table, day);
    }
  }

  /** The days that have a partition, oldest first, as the millisecond they begin at. */
  async days(): Promise<number[]> {
    const rows = await this.database.run<{ day: string }>(
      `select substring(c.relname from '[0-9]{8}$') as day
       from pg_inherits i join pg_class c on c.oid = i.inhrelid
       where i.inhparent = 'event'::regclass and c.relname ~ '^event_[0-9]{8}$' order by 1`,
    );
    return rows.map(({ day }) =>
      Date.parse(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T00:00:00Z`),
    );
  }

  /**
   * Drops a day's partitions. What must outlive its day (every open delivery, and what `keep` names, each with its
   * event and attempts) moves to the default partitions: the deliveries first, then what belongs to those.
   */
  async drop(day: number, keep: Keep): Promise<DropOutcome> {
    const expected = await this.expectedToEndure(day, keep);
    const range = rangeOf(day);
    const keptOfDay = 'from delivery_default where id >= $1 and id < $2';
    try {
      if (expected.length > MAX_MOVED || (await this.bytesOf(day, expected)) > MAX_MOVED_BYTES) {
        return (await rewriteDay(this.database, day, keep)) ? 'rewritten' : 'crowded';
      }
      const deadSince = new Date(keep.deadSinceMs);
      await this.dropOne('delivery', day, `${IS_DUE_OR_DEAD} or t.id = any ($2)`, [deadSince, expected]);
      await this.dropOne(
        'delivery_attempt',
        day,
        `t.delivery_id = any (array(select id ${keptOfDay}))`,
        range,
      );
      await this.dropOne('event', day, `t.id = any (array(select event_id ${keptOfDay}))`, range);
      return 'dropped';
    } catch (error) {
      if (isLockConflict(error)) return 'busy';
      throw error;
    }
  }

  /** Rows that waited in the default partition (this day had no partition) move into their own. */
  private async create(table: Table, day: number): Promise<void> {
    const partition = partitionOf(table, day);
    if (await exists(this.database, partition)) return;
    const key = keyOf(table);
    const options = table === 'delivery' ? 'with (fillfactor = 85)' : '';
    const range = rangeOf(day);
    await changeLayout(this.database, async (connection) => {
      if (await exists(connection, partition)) return;
      // Nothing may arrive there between the move and the moment from which this day has its own partition.
      await connection.run(`lock table ${table}_default in access exclusive mode`);
      await connection.run(`create table ${partition} (like ${table} including defaults) ${options}`);
      await connection.run(
        `with moved as (delete from ${table}_default where ${key} >= $1 and ${key} < $2 returning *)
         insert into ${partition} select * from moved /* all tenants: a day */`,
        range,
      );
      await connection.run(
        `alter table ${table} attach partition ${partition} for values from ('${range.join("') to ('")}')`,
      );
    });
  }

  /**
   * What would be kept now. It reads the whole day, for what ended lately is in no index, so it comes before the lock:
   * what ends in between is on this list, being open still, and what is opened in between is found again by index.
   */
  private async expectedToEndure(day: number, keep: Keep): Promise<string[]> {
    const partition = partitionOf('delivery', day);
    return this.database.transaction(async (connection) => {
      if (!(await exists(connection, partition))) return [];
      await connection.run(`set local enable_seqscan = on; set local statement_timeout = ${SCAN_MS}`);
      const rows = await connection.run<{ id: string }>(
        {
          text: `select t.id from ${partition} t where ${IS_KEPT} limit $3 /* all tenants: a day */`,
          query_timeout: SCAN_MS,
        },
        [...keptValues(keep), MAX_MOVED + 1],
      );
      return rows.map(({ id }) => id);
    });
  }

  private async dropOne(table: Table, day: number, kept: string, values: unknown[]): Promise<void> {
    const partition = partitionOf(table, day);
    await changeLayout(this.database, async (connection) => {
      if (!(await exists(connection, partition))) return;
      await connection.run(`lock table ${table} in access exclusive mode`);
      await connection.run(`alter table ${table} detach partition ${partition}`);
      await connection.run(
        `insert into ${table}_default select t.* from ${partition} t where ${kept} /* all tenants: a day */`,
        values,
      );
      await connection.run(`drop table ${partition}`);
      // Of a rewrite that was killed.
      await connection.run(`drop table if exists ${partition}_next`);
    });
  }

  /** How much has to be moved with these deliveries, at most. */
  private async bytesOf(day: number, deliveryIds: string[]): Promise<number> {
    if (deliveryIds.length === 0) return 0;
    const [row] = await this.database.run<{ bytes: number }>(
      `select greatest(
         (select sum(octet_length(e.payload)) from event e where e.id = any (array(
            select distinct d.event_id from delivery d where d.id = any ($1)))),
         (select sum(${ATTEMPT_BYTES} + coalesce(octet_length(a.response_body), 0)) from delivery_attempt a
          where a.delivery_id = any ($1)))::float8 as bytes /* all tenants: a day */`,
      [deliveryIds],
    );
    return row?.bytes ?? 0;
  }
}

/** Asks pg_class rather than to_regclass(), which may answer from a cache that is older than the lock just taken. */
async function exists(connection: Connection, table: string): Promise<boolean> {
  const rows = await connection.run(
    'select 1 from pg_class where relname = $1 and pg_table_is_visible(oid)',
    [table],
  );
  return rows.length > 0;
}
