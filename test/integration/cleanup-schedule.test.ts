import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PeriodicTasks } from '../../src/schedule/periodic-tasks.js';
import { createDatabase } from '../support/database.js';
import { Posthorn, startPosthorn } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const LONG_AGO = Date.parse('2026-01-01T00:00:00Z');

let first: Posthorn;
let rows: Rows;
let redisUrl: string;
let database: Awaited<ReturnType<typeof createDatabase>>;
let tenant: string;

const scheduler = (env: Record<string, string> = {}, databaseUrl = first.databaseUrl) =>
  startPosthorn({ env: { ROLE: 'scheduler', REDIS_URL: redisUrl, ...env }, databaseUrl });
const runIfDue = (of: Posthorn) => of.app.get(PeriodicTasks, { strict: false }).runNow('cleanup');
const eventsLeft = async () => (await rows.query('select 1 from event')).length;
const lastRunWas = (ago: string) =>
  rows.query(`update maintenance_run set started_at = now() - $1::interval where task = 'cleanup'`, [ago]);

beforeAll(async () => {
  redisUrl = (await freshRedis()).url;
  database = await createDatabase();
  first = await scheduler({}, database.url);
  rows = new Rows(first.databaseUrl);
  tenant = await rows.tenant();
});
afterAll(async () => {
  await rows.end();
  await first.stop();
  await database.drop();
});

it('purges once an interval, however many schedulers ask and restart', async () => {
  const second = await scheduler();
  await rows.event(tenant, { at: LONG_AGO });

  const ran = await Promise.all([first, second, first, second].map(runIfDue));
  expect(ran.filter(Boolean)).toHaveLength(1);
  expect(await eventsLeft()).toBe(0);

  await rows.event(tenant, { at: LONG_AGO });
  await second.stop();
  const restarted = await scheduler();
  await lastRunWas('59 minutes 50 seconds');
  expect([await runIfDue(first), await runIfDue(restarted)]).toEqual([false, false]);
  expect(await eventsLeft()).toBe(1);

  await lastRunWas('1 hour');
  expect([await runIfDue(restarted), await runIfDue(first)]).toEqual([true, false]);
  expect(await eventsLeft()).toBe(0);
  await restarted.stop();
});

it('does not begin while another process is at it still', async () => {
  await lastRunWas('2 hours');
  const other = new pg.Client({ connectionString: first.databaseUrl });
  await other.connect();
  await other.query(`select pg_advisory_lock(hashtextextended('posthorn:cleanup', 0))`);
  expect(await runIfDue(first)).toBe(false);

  await other.query(`select pg_advisory_unlock_all()`);
  expect(await runIfDue(first)).toBe(true);
  await other.end();
});

it('makes the partitions of the days ahead at its start, and runs by itself', async () => {
  const days = () =>
    rows.query<{ name: string }>(
      `select relname as name from pg_class where relname ~ '^event_[0-9]{8}$' order by 1`,
    );
  const before = await days();
  for (const { name } of before.slice(1)) await rows.query(`drop table ${name}`);
  await rows.event(tenant, { at: LONG_AGO });
  await lastRunWas('1 hour');

  const quick = await scheduler({ CLEANUP_INTERVAL_HOURS: '0.001' });
  expect(await days()).toEqual(before);
  await waitFor(async () => (await eventsLeft()) === 0, { what: 'the purge' });
  await quick.stop();
});
