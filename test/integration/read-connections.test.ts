import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { READ_STATEMENT_MS } from '../../src/persistence/data-source.js';
import { ReadDatabase } from '../../src/persistence/read-database.js';
import { type Answer, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** What people look at has connections of its own, and a time for each statement. */

const READ_CONNECTIONS = 2;
const UNKNOWN_ID = '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e';

/** Each read, and a table that it cannot do without. */
const READS: [method: 'GET' | 'POST', path: string, table: string][] = [
  ['GET', '/audit', 'audit_log'],
  ['GET', '/api-keys', 'api_key'],
  ['GET', `/api-keys/${UNKNOWN_ID}`, 'api_key'],
  ['GET', '/sources', 'source'],
  ['GET', `/sources/${UNKNOWN_ID}`, 'source'],
  ['GET', '/subscriptions', 'subscription'],
  ['GET', `/subscriptions/${UNKNOWN_ID}`, 'subscription'],
  ['GET', `/status/subscription/${UNKNOWN_ID}`, 'subscription'],
  ['GET', '/events', 'event'],
  ['GET', '/events?idempotency_key=a', 'idempotency_key'],
  ['GET', `/events/${UNKNOWN_ID}`, 'event'],
  ['GET', `/events/${UNKNOWN_ID}/status`, 'event'],
  ['GET', '/deliveries', 'delivery'],
  ['GET', `/status/delivery/${UNKNOWN_ID}`, 'delivery'],
  ['GET', '/dlq', 'delivery'],
  ['GET', `/dlq/${UNKNOWN_ID}`, 'delivery'],
  ['GET', '/stats?interval=hour', 'delivery_stat'],
  ['GET', '/stats/subscriptions', 'delivery_stat'],
  ['POST', '/webhooks/search', 'delivery'],
];

let posthorn: Posthorn;
let locking: pg.Client;
/** Another one: within a transaction PostgreSQL shows what others do as it was at the first look. */
let watching: pg.Client;
let subscriber: Server;
let received = 0;

beforeAll(async () => {
  subscriber = createServer((request, response) => {
    request.resume();
    received++;
    response.end();
  }).listen(0, '127.0.0.1');
  await once(subscriber, 'listening');
  posthorn = await startPosthorn({ env: { DATABASE_READ_POOL_SIZE: String(READ_CONNECTIONS) } });
  locking = new pg.Client({ connectionString: posthorn.databaseUrl });
  watching = new pg.Client({ connectionString: posthorn.databaseUrl });
  await Promise.all([locking.connect(), watching.connect()]);
});
afterAll(async () => {
  await Promise.all([locking.end(), watching.end()]);
  await posthorn.stop();
  subscriber.close();
});

async function whileLocked<T>(table: string, work: () => Promise<T>): Promise<T> {
  await locking.query(`begin; lock table ${table} in access exclusive mode`);
  try {
    return await work();
  } finally {
    await locking.query('commit');
  }
}

/** How many statements on the connections for reads wait for a lock, or run at all. */
async function reads(which: 'waiting' | 'running'): Promise<number> {
  const { rows } = await watching.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and application_name = 'posthorn reads' and state = 'active'
       and ($1 = 'running' or wait_event_type = 'Lock')`,
    [which],
  );
  return rows[0]!.count;
}

const send = (tenant: TestTenant, method: string, path: string): Promise<Answer> =>
  tenant.request(method, path, method === 'POST' ? {} : undefined);

it.each(READS)('%s %s runs there', async (method, path, table) => {
  const tenant = await posthorn.tenant();
  await tenant.request('GET', '/subscriptions');
  const answer = await whileLocked(table, async () => {
    const sent = send(tenant, method, path);
    await waitFor(async () => (await reads('waiting')) === 1, { what: `${path} on a connection for reads` });
    return { sent };
  });
  expect([200, 404]).toContain((await answer.sent).status);
});

it('takes in events, delivers and is ready while every connection for reads is held', async () => {
  const { port } = subscriber.address() as AddressInfo;
  const greedy = await Promise.all(Array.from({ length: 4 }, () => posthorn.tenant()));
  const other = await posthorn.tenant();
  await other.request('POST', '/subscriptions', { target_url: `http://127.0.0.1:${port}/` });
  const allHeld = () =>
    waitFor(async () => (await reads('waiting')) === READ_CONNECTIONS, { what: 'all of them to be held' });

  const sent = await whileLocked('audit_log', async () => {
    const held = greedy.flatMap((tenant) => Array.from({ length: 5 }, () => send(tenant, 'GET', '/audit')));
    await allHeld();
    const event = { event_type: 'a', payload: 1 };
    for (let count = 0; count < 10; count++) {
      expect((await other.request('POST', '/events', event)).status).toBe(202);
      expect((await posthorn.anonymous.request('GET', '/ready')).status).toBe(200);
    }
    await waitFor(() => received === 10, { what: 'the deliveries' });
    await allHeld();
    return { held };
  });
  for (const { status } of await Promise.all(sent.held)) expect([200, 503]).toContain(status);
});

it('cancels a statement that takes too long, and says so', async () => {
  const tenant = await posthorn.tenant();
  const startedAt = performance.now();
  const answer = await whileLocked('delivery_stat', () => tenant.request('GET', '/stats?interval=hour'));
  expect(answer).toMatchObject({ status: 503, body: { code: 'query_timeout' } });
  expect(answer.headers['retry-after']).toBe('5');
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(READ_STATEMENT_MS);
  expect(await reads('running')).toBe(0);
  // The connection is as it was.
  expect((await tenant.request('GET', '/stats?interval=hour')).status).toBe(200);
});

it('does not tell who changes something to ask for less when its statement is cancelled', async () => {
  const tenant = await posthorn.tenant();
  const answer = await whileLocked('source', async () => {
    const sent = tenant.request('DELETE', `/sources/${UNKNOWN_ID}`);
    const cancelled = `
      select pg_cancel_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%source%'`;
    await waitFor(async () => (await watching.query(cancelled)).rows.length > 0, {
      what: 'a change to be cancelled',
    });
    return sent;
  });
  expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable' } });
});

it('cancels a step of a search within its budget, and says that it found nothing yet', async () => {
  const tenant = await posthorn.tenant();
  const answer = await whileLocked('delivery', () => tenant.request('POST', '/webhooks/search', {}));
  expect(answer).toMatchObject({ status: 503, body: { code: 'query_timeout' } });
  expect(await reads('running')).toBe(0);
  expect((await tenant.request('POST', '/webhooks/search', {})).body).toMatchObject({ is_complete: true });
});

it('cannot change anything there', async () => {
  const database = posthorn.app.get(ReadDatabase, { strict: false });
  await expect(database.run('delete from heartbeat')).rejects.toMatchObject({ code: '25006' });
});
