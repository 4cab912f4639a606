import { Database } from '../database.js';
import {
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
import { changeLayout } from './partition-lock.js';

/**
 * Rewrites those of a day's partitions that have more to be purged than to be kept: the deliveries first, then what
 * belongs to those. It leaves no dead rows and no empty space, however much is kept.
 * @returns whether there was one
 * @throws Error of Postgres, see isLockConflict
 */
export async function rewriteDay(database: Database, day: number, keep: Keep): Promise<boolean> {
  for (const table of TABLES) await abandonCopy(database, partitionOf(table, day));
  const deliveries = partitionOf('delivery', day);
  const { kept, all } = await countDay(database, deliveries, keep);
  const isFirst = await isWorthIt(database, deliveries, kept.deliveries);
  if (isFirst) await rewrite(database, 'delivery', day, IS_KEPT, keptValues(keep));

  const left = isFirst ? kept : all;
  const hasAttempts = await isWorthIt(database, partitionOf('delivery_attempt', day), left.attempts);
  if (hasAttempts) {
    await rewrite(database, 'delivery_attempt', day, `t.delivery_id in (select id from ${deliveries})`);
  }
  const hasEvents = await isWorthIt(database, partitionOf('event', day), left.events);
  if (hasEvents) await rewrite(database, 'event', day, `t.id in (select event_id from ${deliveries})`);
  return isFirst || hasAttempts || hasEvents;
}

interface DayCounts {
  deliveries: number;
  events: number;
  attempts: number;
}

/** What a day holds, and what of it has to be kept. Reads the whole day, which may take minutes. */
async function countDay(
  database: Database,
  deliveries: string,
  keep: Keep,
): Promise<{ kept: DayCounts; all: DayCounts }> {
  const counts = (filter: string) => `json_build_object(
    'deliveries', count(*) ${filter}, 'events', count(distinct event_id) ${filter},
    'attempts', coalesce(sum(attempt_count) ${filter}, 0))`;
  return database.transaction(async (connection) => {
    await connection.run(`set local enable_seqscan = on; set local statement_timeout = ${SCAN_MS}`);
    const text = `select ${counts(`filter (where ${IS_KEPT})`)} as kept, ${counts('')} as all from ${deliveries} t
      /* all tenants: a day */`;
    const [row] = await connection.run<{ kept: DayCounts; all: DayCounts }>(
      { text, query_timeout: SCAN_MS },
      keptValues(keep),
    );
    if (!row) throw new Error(`${deliveries} could not be counted`);
    return row;
  });
}

/** By the statistics; a table that has none yet is small. */
async function isWorthIt(database: Database, partition: string, kept: number): Promise<boolean> {
  const [table] = await database.run<{ rows: number }>(
    'select reltuples as rows from pg_class where oid = $1::regclass',
    [partition],
  );
  return (table?.rows ?? 0) > 2 * kept;
}

/** Leaves neither copy nor trigger behind when it fails, if Postgres lets it. */
async function rewrite(
  ...[database, table, day, kept, values]: Parameters<typeof copyAndSwap>
): Promise<void> {
  try {
    await copyAndSwap(database, table, day, kept, values);
  } catch (error) {
    await abandonCopy(database, partitionOf(table, day)).catch(() => undefined);
    throw error;
  }
}

/** Removes what a rewrite left. The copy and its trigger came in one commit, so without the one there is no other. */
async function abandonCopy(database: Database, partition: string): Promise<void> {
  const copies = await database.run(
    'select 1 from pg_class where relname = $1 and pg_table_is_visible(oid)',
    [`${partition}_next`],
  );
  if (copies.length === 0) return;
  await changeLayout(database, async (connection) => {
    await connection.run(`drop trigger if exists note_partition_change on ${partition}`);
    await connection.run(`drop table if exists ${partition}_next`);
  });
}

/**
 * Puts a copy that holds only what is kept in the place of a partition, which is then dropped. The table is locked for
 * no longer than the rows take that changed in the meantime.
 *
 * A trigger notes those. It is there before the copy's snapshot is taken, and taking it waits for the transactions that were writing
 * without it, so every change is in the copy or in the notes. What a process leaves that is killed in the middle is
 * removed by the next run, or with the day.
 *
 * @param kept a condition on `t`, which a row must not come to meet without being changed
 */
async function copyAndSwap(
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
    const options = table === 'delivery' ? 'with (fillfactor = 85)' : '';
    await connection.run(
      `create table ${copy} (like ${partition} including defaults including indexes) ${options}`,
    );
    await connection.run(
      `create or replace trigger note_partition_change after insert or update or delete on ${partition}
       for each row execute function note_partition_change('${key}')`,
    );
  });
  await database.transaction(async (connection) => {
    await connection.run(`set local enable_seqscan = on; set local statement_timeout = ${SCAN_MS}`);
    const text = `insert into ${copy} select t.* from ${partition} t where ${kept} /* all tenants: a day */`;
    await connection.run({ text, query_timeout: SCAN_MS }, values);
    // What attaching it would otherwise read the whole copy for, under the lock.
    const range = `${key} >= '${from}' and ${key} < '${to}'`;
    await connection.run({
      text: `alter table ${copy} add constraint ${copy}_range check (${range})`,
      query_timeout: SCAN_MS,
    });
  });
  await changeLayout(database, async (connection) => {
    const changed = 'any (array(select key from partition_change))';
    await connection.run(`lock table ${table} in access exclusive mode`);
    await connection.run(`delete from ${copy} where ${key} = ${changed} /* all tenants: a day */`);
    await connection.run(
      `insert into ${copy} select t.* from ${partition} t where t.${key} = ${changed} and (${kept})
       /* all tenants: a day */`,
      values,
    );
    await connection.run(`alter table ${table} detach partition ${partition}`);
    await connection.run(
      `alter table ${table} attach partition ${copy} for values from ('${from}') to ('${to}')`,
    );
    await connection.run(`alter table ${copy} drop constraint ${copy}_range`);
    await connection.run(`drop table ${partition}`);
    await connection.run(`alter table ${copy} rename to ${partition}`);
    await connection.run('truncate partition_change');
  });
  await database.run(`analyze ${partition}`);
}
