import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDataSource } from '../../src/persistence/data-source.js';
import { migrate } from '../../src/persistence/migrate.js';
import { createDatabase } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

let database: Awaited<ReturnType<typeof createDatabase>>;
/** On connections of their own, as a backup and an api process of before. */
let backup: pg.Client;
let caller: pg.Client;

beforeEach(async () => {
  database = await createDatabase();
  const source = await createDataSource(database.url).initialize();
  // As it was before the migration that changes tables which everybody uses.
  for (const { name } of source.migrations.slice().reverse()) {
    await source.undoLastMigration();
    if (name?.startsWith('ManageTenants')) break;
  }
  await source.destroy();
  [backup, caller] = [await connect(), await connect()];
});
afterEach(async () => {
  await backup.end();
  await caller.end();
  await database.drop();
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  return client;
}

const scopes = async () =>
  (
    await caller.query(
      `select 1 from information_schema.columns where table_name = 'api_key' and column_name = 'scopes'`,
    )
  ).rowCount;

it('waits for whoever uses a table that has to change, says so, and lets others pass meanwhile', async () => {
  await backup.query('begin; lock table api_key in access share mode');
  const waitedFor: string[] = [];
  const migrating = migrate(database.url, (what) => waitedFor.push(what));
  for (const tries of [1, 2]) {
    await waitFor(() => waitedFor.length === tries, { what: `try ${tries} to end` });
    // Nobody stands behind a process that has given up for now, and nothing is half done.
    await caller.query(`set statement_timeout = '500ms'`);
    expect((await caller.query('select 1 from api_key')).rowCount).toBe(0);
    expect(await scopes()).toBe(0);
  }
  expect(waitedFor[0]).toMatch(/^a lock: /);

  await backup.query('commit');
  await migrating;
  expect(await scopes()).toBe(1);
  expect(waitedFor).toHaveLength(2);
});

it('lets others that migrate wait for it longer than for a lock', async () => {
  await backup.query('begin; lock table api_key in access share mode');
  const waitedFor: string[][] = [[], []];
  const migrating = waitedFor.map((heard) => migrate(database.url, (what) => heard.push(what)));
  await waitFor(() => waitedFor.flat().length === 2, { what: 'two tries of the one that works' });
  // The other one has said nothing, and not failed.
  expect(waitedFor.map((heard) => heard.length).toSorted()).toEqual([0, 2]);
  await backup.query('commit');
  await Promise.all(migrating);
  expect(await scopes()).toBe(1);
});
