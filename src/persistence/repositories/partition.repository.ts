import { Injectable } from '@nestjs/common';
import { uuidV7Floor } from '../../domain/uuid-v7.js';
import { Connection, Database } from '../database.js';

export const DAY_MS = 86_400_000;
const DAYS_AHEAD = 3;

/** Deliveries that may outlive their day and still be moved while the table is locked: some 50 ms. */
const MAX_MOVED = 10_000;

/** A day may have tens of millions of rows. */
const SCAN_MS = 600_000;

const TABLES = ['event', 'delivery', 'delivery_attempt'] as const;
type Table = (typeof TABLES)[number];

/** What may outlive its day although it is terminal. */
export interface Keep {
  completedSinceMs: number;
  deadSinceMs: number;
}

/**
 * `crowded`: too much of the day must be kept to move it, so its rows have to be purged where they are. `busy`: the
 * tables could not be locked in time; the next call goes on where this one stopped.
 */
export type DropOutcome = 'dropped' | 'crowded' | 'busy';

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
    if (expected.length > MAX_MOVED) return 'crowded';
    const range = [uuidV7Floor(day), uuidV7Floor(day + DAY_MS)];
    const keptOfDay = 'from delivery_default where id >= $1 and id < $2';
    try {
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

  /** Rows that waited in the default partition (nobody had prepared this day) move into their own. */
  private async create(table: Table, day: number): Promise<void> {
    const partition = partitionOf(table, day);
    if (await exists(this.database, partition)) return;
    const key = table === 'delivery_attempt' ? 'delivery_id' : 'id';
    const options = table === 'delivery' ? 'with (fillfactor = 85)' : '';
    const range = [uuidV7Floor(day), uuidV7Floor(day + DAY_MS)];
    await this.alone(async (connection) => {
      if (await exists(connection, partition)) return;
      // Nothing may arrive there between the move and the moment from which this day has its own partition.
      await connection.run(`lock table ${table}_default in access exclusive mode`);
      await connection.run(`create table ${partition} (like ${table} including defaults) ${options}`);
      await connection.run(
        `with moved as (delete from ${table}_default where ${key} >= $1 and ${key} < $2 returning *)
         insert into ${partition} select * from moved`,
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
          text: `select t.id from ${partition} t
                 where ${IS_DUE_OR_DEAD} or (t.dead_at is null and t.completed_at >= $2) limit $3`,
          query_timeout: SCAN_MS,
        },
        [new Date(keep.deadSinceMs), new Date(keep.completedSinceMs), MAX_MOVED + 1],
      );
      return rows.map(({ id }) => id);
    });
  }

  private async dropOne(table: Table, day: number, kept: string, values: unknown[]): Promise<void> {
    const partition = partitionOf(table, day);
    await this.alone(async (connection) => {
      if (!(await exists(connection, partition))) return;
      await connection.run(`lock table ${table} in access exclusive mode`);
      await connection.run(`alter table ${table} detach partition ${partition}`);
      await connection.run(
        `insert into ${table}_default select t.* from ${partition} t where ${kept}`,
        values,
      );
      await connection.run(`drop table ${partition}`);
    });
  }

  /**
   * One transaction that changes partitions at a time, over one of the three tables: no order of locking them suits
   * every statement of the engine, and a deadlock would fail those. Everything new waits behind a lock that waits, so
   * it gives up soon.
   */
  private alone(work: (connection: Connection) => Promise<void>): Promise<void> {
    return this.database.transaction(async (connection) => {
      await connection.run(`set local lock_timeout = '2s'`);
      await connection.run(`select pg_advisory_xact_lock(hashtextextended('posthorn:partitions', 0))`);
      await work(connection);
    });
  }
}

/** Open, or a dead letter (since $1) that has its time still: one partial index each, delivery_due and delivery_dead. */
const IS_DUE_OR_DEAD = 't.next_attempt_at is not null or t.dead_at >= $1';

/** Asks pg_class rather than to_regclass(), which may answer from a cache that is older than the lock just taken. */
async function exists(connection: Connection, table: string): Promise<boolean> {
  const rows = await connection.run(
    'select 1 from pg_class where relname = $1 and pg_table_is_visible(oid)',
    [table],
  );
  return rows.length > 0;
}

/** SQLSTATE lock_not_available, deadlock_detected. */
function isLockConflict(error: unknown): boolean {
  return ['55P03', '40P01'].includes(String((error as { code?: unknown } | null)?.code));
}

export function partitionOf(table: Table, day: number): string {
  return `${table}_${new Date(day).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

function dayBegin(ms: number): number {
  return Math.floor(ms / DAY_MS) * DAY_MS;
}
