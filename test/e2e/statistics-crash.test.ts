import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { builtMain } from '../support/build.js';
import { type BuiltService, startBuiltService } from '../support/built-service.js';
import { createDatabase } from '../support/database.js';
import { Load } from '../support/load.js';
import { type Posthorn, startPosthorn } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const EVENTS = 400;

let database: Awaited<ReturnType<typeof createDatabase>>;
let rows: Rows;
let simulator: Simulator;
let api: Posthorn;
let env: Record<string, string>;
let obstacle: pg.Client;

beforeAll(async () => {
  [database, simulator] = await Promise.all([createDatabase(), startSimulator(), builtMain()]);
  rows = new Rows(database.url);
  env = {
    REDIS_URL: (await freshRedis()).url,
    LOG_LEVEL: 'silent',
    SWEEP_INTERVAL_SECONDS: '0.1',
    DELIVERY_TIMEOUT_MS: '1000',
    LEASE_SECONDS: '2',
  };
  api = await startPosthorn({ env: { ...env, ROLE: 'api' }, databaseUrl: database.url });
  obstacle = new pg.Client({ connectionString: database.url });
  await obstacle.connect();
});
afterAll(async () => {
  await obstacle.end();
  await api.stop();
  await simulator.close();
  await rows.end();
  await database.drop();
});

const start = (role: string): Promise<BuiltService> =>
  startBuiltService({ databaseUrl: database.url, env: { ...env, ROLE: role } });

it('counts every attempt once though workers and schedulers are killed in the middle of it', async () => {
  const tenant = await api.tenant();
  const subscriptions: string[] = [];
  for (const [path, schedule] of [
    ['/delay/10/fast', []],
    ['/fail/30/flaky', Array<number>(20).fill(0.1)],
    ['/always-fail/broken', [0.1]],
  ] as const) {
    const { body } = await tenant.request('POST', '/subscriptions', {
      target_url: `${simulator.url}${path}`,
      retry_policy: { schedule },
    });
    subscriptions.push(body.id as string);
  }
  let [worker, scheduler] = await Promise.all([start('worker'), start('scheduler')]);
  await waitFor(
    async () => {
      await tenant.request('POST', `/subscriptions/${subscriptions[0]!}/test`);
      return (await rows.query('select 1 from delivery_stat limit 1')).length > 0;
    },
    { what: 'something to be added up' },
  );

  // A fold has taken what is new, and cannot write the sums.
  await obstacle.query('begin');
  await obstacle.query('select 1 from delivery_stat for update');
  const sending = new Load(EVENTS, () => 'order.paid').send(tenant);
  await waitFor(
    async () =>
      (
        await rows.query(
          `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
             and query like '%insert into delivery_stat %'`,
        )
      ).length > 0,
    { what: 'the fold to be in the middle' },
  );
  await simulator.waitFor(EVENTS / 2);
  await Promise.all([worker.kill(), scheduler.kill()]);
  await obstacle.query('rollback');

  [worker, scheduler] = await Promise.all([start('worker'), start('scheduler')]);
  await simulator.waitFor(EVENTS * 2);
  await Promise.all([worker.kill(), scheduler.kill()]);
  await sending;

  worker = await start('worker');
  scheduler = await start('scheduler');
  await waitFor(
    async () =>
      (await rows.query('select 1 from delivery where next_attempt_at is not null limit 1')).length === 0,
    { what: 'every delivery to end' },
  );
  for (const id of [null, ...subscriptions]) {
    const query = id === null ? '' : `?subscription_id=${id}`;
    expect((await tenant.request('GET', `/stats${query}`)).body.totals).toMatchObject(await exactly(id));
  }
  await waitFor(async () => (await rows.query('select 1 from delivery_stat_delta')).length === 0, {
    what: 'all to be added up',
  });
  expect((await tenant.request('GET', '/stats')).body.totals).toMatchObject(await exactly(null));
  expect((await exactly(null)).attempts).toBeGreaterThan(3 * EVENTS);
  await Promise.all([worker.kill(), scheduler.kill()]);
});

async function exactly(subscriptionId: string | null) {
  const [attempts] = await rows.query<{ attempts: number; failures: number; retries: number }>(
    `select count(*)::int as attempts, count(*) filter (where not a.success)::int as failures,
            count(*) filter (where a.attempt_number > 1)::int as retries
     from delivery_attempt a join delivery d on d.id = a.delivery_id where $1::uuid is null or d.subscription_id = $1`,
    [subscriptionId],
  );
  const [ends] = await rows.query<{ delivered: number; dead: number }>(
    `select count(*) filter (where status = 'delivered')::int as delivered,
            count(*) filter (where status = 'dead')::int as dead
     from delivery where $1::uuid is null or subscription_id = $1`,
    [subscriptionId],
  );
  return { ...attempts!, ...ends!, dlq_size: ends!.dead };
}
