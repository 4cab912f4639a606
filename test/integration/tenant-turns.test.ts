import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Answer, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { openRaw } from '../support/raw-http.js';
import { waitFor } from '../support/wait-for.js';

/** What a tenant asks of the database, however much and however slow, leaves connections to the others. */

/** What a tenant may change at once is a third of the one pool, and what it may read half of the other. */
const POOL_SIZE = 15;
const CHANGES_AT_ONCE = 5;
const READ_POOL_SIZE = 6;
const AT_ONCE = 3;
const MAX_WAITING = 100;

let posthorn: Posthorn;
let locking: pg.Client;
/** Another one: within a transaction PostgreSQL shows what others do as it was at the first look. */
let looking: pg.Client;
let greedy: TestTenant;
let other: TestTenant;

beforeAll(async () => {
  posthorn = await startPosthorn({
    env: { DATABASE_POOL_SIZE: String(POOL_SIZE), DATABASE_READ_POOL_SIZE: String(READ_POOL_SIZE) },
  });
  locking = new pg.Client({ connectionString: posthorn.databaseUrl });
  looking = new pg.Client({ connectionString: posthorn.databaseUrl });
  await Promise.all([locking.connect(), looking.connect()]);
});
afterAll(async () => {
  await Promise.all([locking.end(), looking.end()]);
  await posthorn.stop();
});
beforeEach(async () => {
  greedy = await posthorn.tenant();
  other = await posthorn.tenant();
});

/** Nothing that needs this table ends before `work` has. */
async function whileLocked<T>(table: string, work: () => Promise<T>): Promise<T> {
  await locking.query(`begin; lock table ${table} in access exclusive mode`);
  try {
    return await work();
  } finally {
    await locking.query('commit');
  }
}

/** How many statements that look for this wait for the lock; the service's own work stands there as well. */
async function standing(about: string): Promise<number> {
  const { rows } = await looking.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and strpos(query, $1) > 0`,
    [about],
  );
  return rows[0]!.count;
}

const AUDIT_LIST = 'from audit_log';
const BULK_CHANGE = 'with batch as materialized';

const whenStanding = (count: number, about: string) =>
  waitFor(async () => (await standing(about)) === count, { what: `${count} statements before the lock` });

function times<T>(count: number, send: () => T): T[] {
  return Array.from({ length: count }, send);
}

const statuses = async (answers: Promise<Answer>[]) => {
  const counts: Record<number, number> = {};
  for (const { status, body } of await Promise.all(answers)) {
    // A read that stood before a lock for as long as a read may take has had its slot, too.
    const counted = body?.code === 'query_timeout' ? 200 : status;
    counts[counted] = (counts[counted] ?? 0) + 1;
  }
  return counts;
};

it('leaves half of the connections for reads to others, and refuses nothing that can wait', async () => {
  const slow = await whileLocked('audit_log', async () => {
    const sent = times(AT_ONCE + MAX_WAITING, () => greedy.request('GET', '/audit'));
    await whenStanding(AT_ONCE, AUDIT_LIST);
    for (const path of ['/subscriptions', '/events', '/dlq']) {
      expect(await statuses(times(20, () => other.request('GET', path)))).toEqual({ 200: 20 });
    }
    expect(await standing(AUDIT_LIST)).toBeLessThanOrEqual(AT_ONCE);
    return sent;
  });
  expect(await statuses(slow)).toEqual({ 200: AT_ONCE + MAX_WAITING });
});

it('limits changes by the connections for changes', async () => {
  const sent = await whileLocked('source', async () => {
    const changes = times(20, () => greedy.request('DELETE', `/sources/${greedy.id}`));
    await whenStanding(CHANGES_AT_ONCE, 'source');
    expect(await statuses(times(20, () => greedy.request('GET', '/subscriptions')))).toEqual({ 200: 20 });
    expect(await standing('source')).toBe(CHANGES_AT_ONCE);
    return changes;
  });
  expect(await statuses(sent)).toEqual({ 404: 20 });
});

it('answers a tenant before most reads of others that hold every connection', async () => {
  const third = await posthorn.tenant();
  const order: string[] = [];
  const list = async (tenant: TestTenant, name: string) => {
    const answer = await tenant.request('GET', '/audit');
    order.push(name);
    return answer;
  };
  const sent = await whileLocked('audit_log', async () => {
    const before = [greedy, other].flatMap((tenant) => times(50, () => list(tenant, 'slow')));
    await whenStanding(READ_POOL_SIZE, AUDIT_LIST);
    return [...before, list(third, 'third')];
  });
  expect(await statuses(sent)).toEqual({ 200: 101 });
  expect(order.indexOf('third')).toBeLessThan(50);
});

it('refuses what comes when a hundred wait, but takes in events', async () => {
  const event = { event_type: 'a', payload: 1 };
  const slow = await whileLocked('audit_log', async () => {
    const sent = times(AT_ONCE + MAX_WAITING + 7, () => greedy.request('GET', '/audit'));
    const refused = await Promise.race(sent);
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(refused.headers['retry-after']).toBe('1');
    expect((await greedy.request('POST', '/events', event)).status).toBe(202);
    expect((await greedy.request('POST', '/events/batch', { events: [event] })).status).toBe(202);
    return sent;
  });
  expect(await statuses(slow)).toEqual({ 200: AT_ONCE + MAX_WAITING, 429: 7 });
});

it('gives the place of a client that went away to the next', async () => {
  const server = posthorn.app.getHttpServer();
  const connections = () =>
    promisify<number>((done) => {
      server.getConnections(done);
    })();
  const head = `GET /api/v1/audit HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${greedy.apiKey}\r\n\r\n`;
  const answered = await whileLocked('audit_log', async () => {
    const before = await connections();
    const abandoned = times(AT_ONCE + MAX_WAITING + 1, () => openRaw(posthorn.url, head));
    const isFull = () => abandoned.some((one) => one.said().startsWith('HTTP/1.1 429 '));
    await waitFor(isFull, { what: 'a refusal' });
    for (const { socket } of abandoned) socket.destroy();
    await waitFor(async () => (await connections()) <= before, { what: 'the server to notice' });
    return [greedy.request('GET', '/subscriptions')];
  });
  expect(await statuses(answered)).toEqual({ 200: 1 });
});

it.each(['retry', 'discard'])('does one bulk %s of a tenant at a time, in turns of its own', async (verb) => {
  const bulk = await whileLocked('delivery', async () => {
    const sent = times(20, () => greedy.request('POST', `/dlq/${verb}`, {}));
    await whenStanding(1, BULK_CHANGE);
    expect(await statuses(times(20, () => greedy.request('GET', '/subscriptions')))).toEqual({ 200: 20 });
    expect(await standing(BULK_CHANGE)).toBe(1);
    return sent;
  });
  expect(await statuses(bulk)).toEqual({ 200: 20 });
});

it('gives back the turns of what fails, and of what has no body', async () => {
  const wrong = times(50, () => greedy.request('POST', '/subscriptions', { target_url: 1 }));
  const missing = times(50, () => greedy.request('DELETE', `/subscriptions/${greedy.id}`));
  expect(await statuses([...wrong, ...missing])).toEqual({ 422: 50, 404: 50 });
  expect(await statuses(times(20, () => greedy.request('HEAD', '/subscriptions')))).toEqual({ 200: 20 });
});
