import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { startBuiltService } from '../support/built-service.js';
import { createDatabase } from '../support/database.js';
import { client, type Client } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

let database: Awaited<ReturnType<typeof createDatabase>>;
let blocker: pg.Client;

beforeAll(async () => {
  [database] = await Promise.all([createDatabase(), builtMain()]);
  blocker = new pg.Client({ connectionString: database.url });
  await blocker.connect();
});
afterAll(async () => {
  await blocker.end();
  await database.drop();
});

const start = () => startBuiltService({ databaseUrl: database.url, env: { LOG_LEVEL: 'silent' } });

it('says that a change was begun when the process is killed in the middle of it', async () => {
  const first = await start();
  const { body: tenant } = await first.admin.request('POST', '/tenants', { name: 'a tenant' });
  const by = (url: string): Client => client(url, tenant.api_key);
  const target = { target_url: 'https://hooks.example.com/' };
  const created = await by(first.url).request('POST', '/subscriptions', target);
  expect(created.status, created.text).toBe(201);
  const id = created.body.id as string;

  await blocker.query('begin');
  await blocker.query('select 1 from subscription where id = $1 for update', [id]);
  const cut = by(first.url)
    .request('PATCH', `/subscriptions/${id}`, { description: 'new' })
    .catch(() => 'cut off');
  const begun = `select 1 from audit_log where action = 'subscription.change' and result = 'begun'`;
  await waitFor(async () => (await blocker.query(begun)).rowCount === 1, { what: 'the entry' });
  await first.kill();
  expect(await cut).toBe('cut off');
  await blocker.query('rollback');

  const second = await start();
  const { body } = await by(second.url).request('GET', `/audit?object_id=${id}`);
  expect(body.data).toMatchObject([
    { action: 'subscription.change', fields: ['description'], result: 'begun', status_code: null },
    { action: 'subscription.create', result: 'ok', status_code: 201 },
  ]);
  await second.kill();
});
