import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDataSource, createReplicaPool, dataSourceOptions } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import { SubscriptionEntity } from '../../src/persistence/entities/subscription.entity.js';
import { PartitionRepository } from '../../src/persistence/repositories/partition.repository.js';
import { assertScoped, TENANT_TABLES, UnscopedStatement } from '../../src/persistence/tenant-scope.js';
import { createDatabase } from '../support/database.js';
import { Rows } from '../support/rows.js';

/** Tables that hold no tenant's rows. */
const NOBODYS = ['heartbeat', 'maintenance_run', 'migrations', 'partition_change'];

const closers: (() => Promise<void>)[] = [];
let url: string;
let source: DataSource;
let database: Database;
let rows: Rows;

beforeAll(async () => {
  const fresh = await createDatabase();
  url = fresh.url;
  source = await new DataSource(dataSourceOptions(url, 2)).initialize();
  database = new Database(source);
  rows = new Rows(url);
  closers.push(
    () => fresh.drop(),
    () => source.destroy(),
    () => rows.end(),
  );
  await new PartitionRepository(database).createAhead(Date.now());
});
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

describe('the list of tables', () => {
  it('has every table of the database that is not nobody’s', async () => {
    const tables = await rows.query<{ name: string }>(
      `select relname as name from pg_class
       where relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition
         and relnamespace = 'public'::regnamespace order by 1`,
    );
    expect(tables.map(({ name }) => name)).toEqual([...TENANT_TABLES.keys(), ...NOBODYS].sort());
  });

  it('names the column that says whose a row is', async () => {
    const columns = await rows.query<{ table: string }>(
      `select relname as table from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id'
       where relkind in ('r', 'p') and not relispartition order by 1`,
    );
    const expected = [...TENANT_TABLES].filter(([, key]) => key === 'tenant_id').map(([table]) => table);
    expect(columns.map(({ table }) => table)).toEqual(expected.sort());
    expect(TENANT_TABLES.get('tenant')).toBe('id');
  });

  it('covers every partition', async () => {
    const partitions = await rows.query<{ name: string }>(
      "select relname as name from pg_class where relispartition and relkind in ('r', 'p')",
    );
    expect(partitions.length).toBeGreaterThan(10);
    for (const { name } of partitions) {
      expect(() => assertScoped(`select from ${name}`), name).toThrow(UnscopedStatement);
    }
  });
});

describe('a statement that leaves open whose rows it is about does not reach Postgres', () => {
  const FORGOTTEN = 'select payload from event where id = $1';
  const ID = ['018f2d5e-7c1a-7000-8000-000000000000'];
  const refused = { code: '42501', message: expect.stringContaining('whose rows of event') as string };

  it('from the pool, by text or by name', async () => {
    await expect(database.run(FORGOTTEN, ID)).rejects.toThrow(UnscopedStatement);
    await expect(database.run({ name: 'forgotten', text: FORGOTTEN }, ID)).rejects.toThrow(UnscopedStatement);
  });

  it('in a transaction, which is rolled back', async () => {
    const tenantId = '018f2d5e-7c1a-7000-8000-000000000001';
    await expect(
      database.transaction(async (connection) => {
        await connection.run(`insert into tenant (id, name) values ($1, 'a tenant')`, [tenantId]);
        await connection.run(FORGOTTEN, ID);
      }),
    ).rejects.toThrow(UnscopedStatement);
    expect(await rows.query('select 1 from tenant where id = $1', [tenantId])).toEqual([]);
  });

  it('from a repository of TypeORM, in a transaction or not', async () => {
    const subscriptions = source.getRepository(SubscriptionEntity);
    const where = { id: ID[0]! };
    const message = 'whose rows of subscription';
    await expect(subscriptions.findOneBy(where)).rejects.toThrow(message);
    await expect(subscriptions.update(where, { isActive: false })).rejects.toThrow(message);
    await expect(subscriptions.delete(where)).rejects.toThrow(message);
    await expect(subscriptions.createQueryBuilder().getMany()).rejects.toThrow(message);
    await expect(source.transaction((manager) => manager.delete(SubscriptionEntity, where))).rejects.toThrow(
      message,
    );
    await expect(source.query(FORGOTTEN, ID)).rejects.toMatchObject(refused);
  });

  it('from the pool of the replica', async () => {
    const replica = createReplicaPool(url, 1);
    await expect(replica.query(FORGOTTEN, ID)).rejects.toMatchObject(refused);
    expect((await replica.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await replica.end();
  });

  it('as an object that is no text', async () => {
    const client = await (source.driver as unknown as { master: pg.Pool }).master.connect();
    const unreadable = { submit: () => undefined } as unknown as pg.QueryConfig;
    await expect(client.query(unreadable)).rejects.toThrow('can be read');
    client.release();
  });

  it('and says so as pg says what the server refuses: by promise or to the callback, on a connection that goes on', async () => {
    const client = await (source.driver as unknown as { master: pg.Pool }).master.connect();
    await expect(client.query(FORGOTTEN, ID)).rejects.toMatchObject(refused);
    const said = await new Promise((resolve) => client.query(FORGOTTEN, ID, resolve));
    expect(said).toMatchObject(refused);
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    client.release();
  });

  it('and the next one does', async () => {
    expect(await database.run('select id from event where tenant_id = $1', ID)).toEqual([]);
    expect(await source.getRepository(SubscriptionEntity).findBy({ tenantId: ID[0]! })).toEqual([]);
  });
});

it('migrations are about everybody', async () => {
  const migrating = await createDataSource(url).initialize();
  expect(await migrating.query('select id from event')).toEqual([]);
  await migrating.destroy();
});

it('nothing else of the service opens connections, but for what hears of changes', async () => {
  const folder = join(import.meta.dirname, '../../src');
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.ts'));
  const openers = [];
  for (const file of files) {
    const text = await readFile(join(folder, file), 'utf8');
    if (/^import (?!type).*'(pg|pg-.*)'|import\('pg|new DataSource/m.test(text)) openers.push(file);
  }
  // change-feed.ts sends `listen` and `select 1`; secrets-at-rest.ts has a pool of data-source.ts.
  expect(openers.sort()).toEqual([
    'persistence/change-feed.ts',
    'persistence/data-source.ts',
    'persistence/secrets-at-rest.ts',
  ]);
});
