import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDataSource } from '../../src/persistence/data-source.js';
import { migrate } from '../../src/persistence/migrate.js';
import { DAY_MS } from '../../src/persistence/repositories/day-partition.js';
import { execute } from '../support/database.js';
import { History } from '../support/history.js';
import { HOT_STATEMENTS, repositoriesOf, type HotStatement, type Picks } from '../support/hot-statements.js';
import { startOwnPostgres } from '../support/own-postgres.js';
import { openExplained, type Executed, type Explained } from '../support/plans.js';
import { Rows } from '../support/rows.js';

/**
 * The hot statements, as the repositories send them, on three days of 20,000 events, deliveries and attempts each:
 * which index serves them, and how much they read. `enable_seqscan=off`, which the product sets, does not help a
 * statement that has lost its index: it reads the whole of another one, or the table after all. So the blocks that
 * were really touched count.
 *
 * The server is its own. Beside long transactions, even of other databases, Postgres is slow to prune what the
 * statements of earlier tests left dead in the tables, and the same plan then touches several times as many blocks.
 */

const NAMED = HOT_STATEMENTS.filter(({ isNamed }) => isNamed);
/** What would be read for long if it were read whole. */
const LARGE = /^(event|delivery|idempotency_key)/;

const TODAY_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const daysThere = new Set<number>();
const closers: (() => Promise<void>)[] = [];
let url: string;
let source: DataSource;
let rows: Rows;
let picks: Picks;

beforeAll(async () => {
  const postgres = await startOwnPostgres();
  url = postgres.url;
  // It would throw plans away, and bring statistics up to date, at any moment.
  await execute(url, 'alter system set autovacuum = off');
  await execute(url, 'select pg_reload_conf()');
  await migrate(url);
  rows = new Rows(url);
  source = await createDataSource(url).initialize();
  closers.push(
    () => postgres.stop(),
    () => rows.end(),
    () => source.destroy(),
  );
  const { lanes, partitions } = repositoriesOf(source);
  await partitions.createAhead(TODAY_MS - 3 * DAY_MS);
  const history = await History.begin(rows);
  const { tenantId, busiest } = history;
  picks = {
    history,
    tenantId,
    busiest,
    claimed: (count) => lanes.claimDue([{ subscriptionId: busiest, quota: count }], 60),
  };
});

afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

describe('with plans from when the tables were empty', () => {
  let old: Explained;
  beforeAll(async () => {
    old = await open('force_generic_plan');
    await planNamed(old);
    await haveDays(3, 2);
  });
  it.each(NAMED)('$does', (statement) => judge(statement, old));
});

describe('with tables that were never analyzed', () => {
  beforeAll(() => haveDays(3, 2));
  const [named, others] = freshConnections();
  it.each(HOT_STATEMENTS)('$does', (statement) => judge(statement, statement.isNamed ? named() : others()));
});

describe('with plans and statistics from before the last day began', () => {
  let eve: Explained;
  const [, others] = freshConnections();
  beforeAll(async () => {
    await haveDays(3, 2);
    await analyze();
    eve = await open('force_generic_plan');
    await planNamed(eve);
    await haveDays(1);
  });
  it.each(HOT_STATEMENTS)('$does', (statement) => judge(statement, statement.isNamed ? eve : others()));
});

describe('with statistics of today', () => {
  beforeAll(async () => {
    await haveDays(3, 2, 1);
    await analyze();
  });
  const [named, others] = freshConnections();
  it.each(HOT_STATEMENTS)('$does', (statement) => judge(statement, statement.isNamed ? named() : others()));
});

async function judge(statement: HotStatement, explained: Explained): Promise<void> {
  const executed = await lastOfTwo(statement, explained);
  const scans = executed.flatMap((one) => one.scans);
  const indexes = [...new Set(scans.flatMap(({ index }) => index ?? []))];
  const unindexed = scans.filter(({ type, relation }) => type === 'Seq Scan' && LARGE.test(relation));
  const told = executed.map(({ text, blocks }) => `${text}\n-- ${blocks} blocks`).join('\n\n');

  const fits = (index: string, expected: string) => expected.split('|').includes(index);
  const missing = statement.indexes.filter((expected) => !indexes.some((index) => fits(index, expected)));
  const strange = indexes.filter((index) => !statement.indexes.some((expected) => fits(index, expected)));
  expect({ missing, strange, unindexed }, told).toEqual({ missing: [], strange: [], unindexed: [] });

  if (statement.partitions !== undefined) {
    expect(mostPartitions(scans), told).toBeLessThanOrEqual(statement.partitions);
  }
  const blocks = executed.reduce((sum, one) => sum + one.blocks, 0);
  expect(blocks, told).toBeLessThanOrEqual(statement.blocks);
}

/** The first time on a connection reads catalogues too. */
async function lastOfTwo({ run }: HotStatement, explained: Explained): Promise<Executed[]> {
  const repositories = repositoriesOf(explained.source);
  let executed: Executed[] = [];
  for (let time = 0; time < 2; time++) {
    await picks.history.release();
    await run(repositories, picks);
    executed = await explained.executed();
  }
  return executed;
}

function mostPartitions(scans: { relation: string }[]): number {
  const relations = [...new Set(scans.map(({ relation }) => relation))];
  const tables = relations.map((relation) => relation.replace(/_(\d{8}|default)$/, ''));
  return Math.max(...tables.map((table) => tables.filter((other) => other === table).length));
}

/** Sends the named statements once, so that this connection has its plans for them. */
async function planNamed(explained: Explained): Promise<void> {
  const repositories = repositoriesOf(explained.source);
  for (const { run } of NAMED) await run(repositories, picks);
  await explained.executed();
}

/** Connections without plans, opened when the tests of this block begin: for named statements and for the others. */
function freshConnections(): [named: () => Explained, others: () => Explained] {
  let named: Explained;
  let others: Explained;
  beforeAll(async () => {
    named = await open('force_generic_plan');
    others = await open('auto');
  });
  return [() => named, () => others];
}

async function open(planCacheMode: 'auto' | 'force_generic_plan'): Promise<Explained> {
  const explained = await openExplained(url, planCacheMode);
  closers.push(() => explained.close());
  return explained;
}

/** Adds those that are not there yet, so that any part of this file can run alone. */
async function haveDays(...daysAgo: number[]): Promise<void> {
  for (const days of daysAgo.filter((day) => !daysThere.has(day))) {
    await picks.history.addDay(TODAY_MS - days * DAY_MS);
    daysThere.add(days);
  }
}

/** What autovacuum would analyze: no partitioned tables, and no empty ones. */
async function analyze(): Promise<void> {
  for (const name of await tables()) {
    const filled = await rows.query(`select 1 from ${name} limit 1`);
    if (filled.length > 0) await rows.query(`analyze ${name}`);
  }
}

async function tables(): Promise<string[]> {
  const found = await rows.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class
     where relkind = 'r' and relnamespace = current_schema::regnamespace`,
  );
  return found.map(({ name }) => name);
}
