import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Answer, client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

const QUEUE_MAXSIZE = 8;

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
/** A connection that can keep Posthorn from writing events, as a slow disk or a long transaction would. */
let postgres: pg.Client;

beforeEach(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn({
    env: { QUEUE_MAXSIZE: String(QUEUE_MAXSIZE), SHUTDOWN_DEADLINE_SECONDS: '120' },
  });
  tenant = await posthorn.tenant();
  await tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok/kept` });
  postgres = new pg.Client({ connectionString: posthorn.databaseUrl });
  await postgres.connect();
});
afterEach(async () => {
  await postgres.end();
  await posthorn.stop();
  await simulator.close();
});

const hold = async (): Promise<void> => {
  await postgres.query('begin; lock table event in access exclusive mode');
};
const letGo = async (): Promise<void> => {
  await postgres.query('commit');
};
const blocked = (): Promise<unknown> =>
  waitFor(
    async () => {
      const { rows } = await postgres.query(
        `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    },
    { what: 'a statement to wait for the lock' },
  );

const send = (number: number): Promise<Answer> =>
  tenant.request('POST', '/events', { event_type: 'a', payload: { number } });

it('answers 429 with Retry-After beyond QUEUE_MAXSIZE, and keeps all that it acknowledged', async () => {
  await hold();
  const answers = Array.from({ length: QUEUE_MAXSIZE }, (_, number) => send(number));
  await blocked();
  const isFull = async (): Promise<boolean> => (await send(-1)).status === 429;
  await waitFor(isFull, { what: 'the intake to be full' });

  for (const refused of [
    await send(-1),
    await tenant.request('POST', '/events/batch', { events: [{ event_type: 'a', payload: -1 }] }),
  ]) {
    expect(refused.status).toBe(429);
    expect(refused.body).toMatchObject({ code: 'overloaded', request_id: refused.headers['x-request-id'] });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  }
  await letGo();

  const acknowledged = await Promise.all(answers);
  expect(acknowledged.map(({ status }) => status)).toEqual(answers.map(() => 202));
  expect((await send(QUEUE_MAXSIZE)).status).toBe(202);
  await simulator.waitFor(QUEUE_MAXSIZE + 1);
  const arrived = simulator.received.map(({ body }) => body.toString()).toSorted();
  const sent = Array.from({ length: QUEUE_MAXSIZE + 1 }, (_, number) => JSON.stringify({ number }));
  expect(arrived).toEqual(sent.toSorted());
});

it.each(['pg_cancel_backend', 'pg_terminate_backend'])(
  'answers 503 with Retry-After when Postgres breaks a statement off (%s), and goes on',
  async (breakOff) => {
    await hold();
    const answer = send(1);
    await blocked();
    await postgres.query(
      `select ${breakOff}(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    const { status, headers, body } = await answer;
    await letGo();
    expect(status).toBe(503);
    expect(body).toMatchObject({ code: 'unavailable', request_id: headers['x-request-id'] });
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    expect((await tenant.request('GET', '/events')).body.data).toEqual([]);
    expect((await send(2)).status).toBe(202);
  },
);

it('tells which events of a batch were stored when Postgres broke off some of its commits', async () => {
  const roomy = await startPosthorn({ databaseUrl: posthorn.databaseUrl });
  await hold();
  const events = Array.from({ length: 1_000 }, (_, number) => ({ event_type: 'b', payload: { number } }));
  const answer = client(roomy.url, tenant.apiKey).request('POST', '/events/batch', { events });
  const waiting = async () => {
    await postgres.query('select pg_stat_clear_snapshot()');
    const { rows } = await postgres.query<{ pid: number; begun: number }>(
      `select pid, extract(epoch from query_start)::float8 as begun from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'
       order by query_start desc limit 1`,
    );
    return rows[0];
  };
  const first = await waitFor(waiting, { what: 'the first commit to wait' });
  await postgres.query('select pg_cancel_backend($1)', [first.pid]);
  await waitFor(async () => ((await waiting())?.begun ?? 0) > first.begun, {
    what: 'the second commit to wait',
  });
  await letGo();

  const { status, body, text } = await answer;
  expect(status, text).toBe(202);
  const results = body.results as { index: number; status: string; error?: { code: string } }[];
  const accepted = results.filter((result) => result.status === 'accepted');
  const rejected = results.filter((result) => result.status === 'rejected');
  expect([accepted.length, rejected.length]).toEqual([500, 500]);
  expect(new Set(rejected.map(({ error }) => error?.code))).toEqual(new Set(['unavailable']));
  await simulator.waitFor(accepted.length);
  expect(simulator.received.map((arrival) => arrival.body.toString()).toSorted()).toEqual(
    accepted.map(({ index }) => JSON.stringify({ number: index })).toSorted(),
  );
  await roomy.stop();
});

it('stops as soon as the requests in flight are answered, though their clients keep the connections', async () => {
  await hold();
  const answer = send(1);
  await blocked();
  const closing = posthorn.app.close();
  await waitFor(() => refusesConnections(), { what: 'the server to close' });
  const startedAt = performance.now();
  await letGo();
  expect((await answer).status).toBe(202);
  await closing;
  // It does not wait for its deadline.
  expect(performance.now() - startedAt).toBeLessThan(60_000);
});

async function refusesConnections(): Promise<boolean> {
  return posthorn.anonymous.request('GET', '/ready').then(
    () => false,
    () => true,
  );
}
