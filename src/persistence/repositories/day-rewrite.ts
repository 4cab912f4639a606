import { Database } from '../database.js';
import { IS_KEPT, Keep, keptValues, keyOf, partitionOf, rangeOf, SCAN_MS, Table } from './day-partition.js';
import { changeLayout } from './partition-lock.js';

/**
 * Rewrites those of a day's partitions that have more to be purged than to be kept: the deliveries first, then what
 * belongs to those. It leaves no dead rows and no empty space, however much is kept.
 * @returns whether there was one
 * @throws Error of Postgres, see isLockConflict
 */
export async function rewriteDay(database: Database, day: number, keep: Keep): Promise<boolean> {
  const deliveries = partitionOf('delivery', day);
  const [kept] = await database.run<{ count: number }>(
    `select ((select count(*) from ${deliveries} where next_attempt_at is not null)
             + (select count(*) from ${deliveries} where dead_at is not null))::float8 as count`,
  );
  const isFirst = await isWorthIt(database, deliveries, kept?.count);
  if (isFirst) await rewrite(database, 'delivery', day, IS_KEPT, keptValues(keep));

  const [left] = await database.run<{ events: number; attempts: number }>(
    `select count(distinct event_id)::float8 as events, sum(attempt_count)::float8 as attempts from ${deliveries}`,
  );
  const hasAttempts = await isWorthIt(database, partitionOf('delivery_attempt', day), left?.attempts);
  if (hasAttempts) {
    await rewrite(database, 'delivery_attempt', day, `t.delivery_id in (select id from ${deliveries})`);
  }
  const hasEvents = await isWorthIt(database, partitionOf('event', day), left?.events);
  if (hasEvents) await rewrite(database, 'event', day, `t.id in (select event_id from ${deliveries})`);
  return isFirst || hasAttempts || hasEvents;
}

/** By the statistics; a table that has none yet is small. */
async function isWorthIt(database: Database, partition: string, kept = 0): Promise<boolean> {
  const [table] = await database.run<{ rows: number }>(
    'select reltuples as rows from pg_class where oid = $1::regclass',
    [partition],
  );
  return (table?.rows ?? 0) > 2 * kept;
}

/**
 * Puts a copy that holds only what is kept in the place of a partition, which is then dropped. The table is locked for
 * no longer than the rows take that changed in the meantime.
 *
 * A trigger notes those. It is there before the copy's snapshot is taken, and taking it waits for whoever was writing
 * without it, so every change is in the copy or in the notes. What is left of a run that was interrupted is removed
 * by the next one.
 *
 * @param kept a condition on `t`, which a row must not come to meet without being changed
 */
async function rewrite(
  database: Database,
  table: Table,
  day: number,
  kept: string,
  values: unknown[] = [],
): Promise<void> {
  const [partition, copy] = [partitionOf(table, day), `${partitionOf(table, day)}_next`];
  const [key, [from, to]] = [keyOf(table), rangeOf(day)];
  await changeLayout(database, async (connection) => {
    await connection.run(`drop table if exists ${copy}`);
    await connection.run('truncate partition_change');
    await connection.run(`create table ${copy} (like ${partition} including defaults including indexes)`);
    await connection.run(
      `create or replace trigger note_partition_change after insert or update or delete on ${partition}
       for each row execute function note_partition_change('${key}')`,
    );
  });
  await database.transaction(async (connection) => {
    await connection.run(`set local enable_seqscan = on; set local statement_timeout = ${SCAN_MS}`);
    const text = `insert into ${copy} select t.* from ${partition} t where ${kept}`;
    await connection.run({ text, query_timeout: SCAN_MS }, values);
    // What attaching it would otherwise read the whole copy for, under the lock.
    await connection.run(
      `alter table ${copy} add constraint ${copy}_range check (${key} >= '${from}' and ${key} < '${to}')`,
    );
  });
  await changeLayout(database, async (connection) => {
    const changed = 'any (array(select key from partition_change))';
    await connection.run(`lock table ${table} in access exclusive mode`);
    await connection.run(`delete from ${copy} where ${key} = ${changed}`);
    await connection.run(
      `insert into ${copy} select t.* from ${partition} t where t.${key} = ${changed} and (${kept})`,
      values,
    );
    await connection.run(`alter table ${table} detach partition ${partition}`);
    await connection.run(
      `alter table ${table} attach partition ${copy} for values from ('${from}') to ('${to}')`,
    );
    await connection.run(`alter table ${copy} drop constraint ${copy}_range`);
    await connection.run(`drop table ${partition}`);
    await connection.run(`alter table ${copy} rename to ${partition}`);
  });
  await database.run(`analyze ${partition}`);
}
