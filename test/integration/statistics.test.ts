import fc from 'fast-check';
import { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DeliverySums } from '../../src/domain/delivery-statistics.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { dataSourceOptions } from '../../src/persistence/data-source.js';
import { Connection, Database, Statement } from '../../src/persistence/database.js';
import type { AttemptResult } from '../../src/domain/attempt.js';
import type { ClaimedDelivery } from '../../src/domain/delivery.js';
import { LaneRepository } from '../../src/persistence/repositories/lane.repository.js';
import { PurgeRepository } from '../../src/persistence/repositories/purge.repository.js';
import { StatisticsRepository } from '../../src/persistence/repositories/statistics.repository.js';
import { TenantPurgeRepository } from '../../src/persistence/repositories/tenant-purge.repository.js';
import { createDatabase } from '../support/database.js';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { delivered } from '../support/results.js';
import { Rows } from '../support/rows.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let database: Awaited<ReturnType<typeof createDatabase>>;
let rows: Rows;
let dataSource: DataSource;
let connections: Database;
let lanes: LaneRepository;
let statistics: StatisticsRepository;
let purges: PurgeRepository;
/** It answers, and folds nothing. */
let api: Posthorn;

beforeAll(async () => {
  database = await createDatabase();
  rows = new Rows(database.url);
  dataSource = await new DataSource(dataSourceOptions(database.url, 8)).initialize();
  connections = new Database(dataSource);
  lanes = new LaneRepository(connections);
  statistics = new StatisticsRepository(connections);
  purges = new PurgeRepository(connections);
  const env = { ROLE: 'api', REDIS_URL: (await freshRedis()).url };
  api = await startPosthorn({ env, databaseUrl: database.url });
});
afterEach(async () => {
  await rows.query(
    'truncate event, delivery, delivery_attempt, delivery_stat, delivery_stat_delta, dead_letter_count',
  );
  await rows.query('delete from tenant');
});
afterAll(async () => {
  await api.stop();
  await rows.end();
  await dataSource.destroy();
  await database.drop();
});

async function foldAll(): Promise<void> {
  while ((await statistics.fold(1_000)) > 0);
}

/** Deliveries that are due, with the events that they need. */
async function makeDue(tenantId: string, subscriptionId: string, count: number): Promise<void> {
  const event = await rows.event(tenantId);
  for (let index = 0; index < count; index++) await rows.delivery(tenantId, event, subscriptionId);
}

const claim = (subscriptionId: string, quota: number, leaseSeconds = 60) =>
  lanes.claimDue([{ subscriptionId, quota }], leaseSeconds);

/** What the statistics say, folded or not. */
async function counted(tenantId: string, subscriptionId: string | null, resolution: 'minute' | 'hour') {
  const whose = { tenantId, subscriptionId };
  const to = new Date(Date.now() + DAY);
  const { rows: found } = await statistics.series(whose, resolution, new Date(to.getTime() - 3 * DAY), to);
  const sums = new DeliverySums();
  for (const row of found) {
    sums.add(row);
    sums.latency.addAll(row.latency);
    for (const [ms, count] of row.durations) sums.latency.add(ms, count);
  }
  return sums;
}

/** What is in the tables that the statistics are about. */
async function exactly(tenantId: string, subscriptionId: string | null) {
  const whose = 'd.tenant_id = $1 and ($2::uuid is null or d.subscription_id = $2)';
  const attempts = await rows.query<AttemptResultRow>(
    `select a.* from delivery d join delivery_attempt a on a.delivery_id = d.id where ${whose}`,
    [tenantId, subscriptionId],
  );
  const statuses = await rows.query<{ status: string }>(`select d.status from delivery d where ${whose}`, [
    tenantId,
    subscriptionId,
  ]);
  const sums = new DeliverySums();
  sums.add({
    attempts: attempts.length,
    failures: attempts.filter(({ success }) => !success).length,
    retries: attempts.filter(({ attempt_number }) => attempt_number > 1).length,
    delivered: statuses.filter(({ status }) => status === 'delivered').length,
    dead: statuses.filter(({ status }) => status === 'dead').length,
  });
  for (const { status_code, error, duration_ms } of attempts) {
    if (status_code !== null || error?.startsWith('timeout:')) sums.latency.add(duration_ms);
  }
  return sums;
}

interface AttemptResultRow {
  attempt_number: number;
  success: boolean;
  status_code: number | null;
  error: string | null;
  duration_ms: number;
}

async function expectExact(tenantId: string, subscriptionIds: string[]): Promise<void> {
  for (const subscriptionId of [null, ...subscriptionIds]) {
    const expected = await exactly(tenantId, subscriptionId);
    expect(await counted(tenantId, subscriptionId, 'minute')).toEqual(expected);
    expect(await counted(tenantId, subscriptionId, 'hour')).toEqual(expected);
  }
}

describe('statistics are what the tables say', () => {
  const failed = { success: false, status: 'retrying', retryInMs: 0 } as const;
  /** Ends of an attempt. */
  const ENDS: Partial<AttemptResult>[] = [
    {},
    { durationMs: 700 },
    { ...failed, statusCode: 500, error: 'HTTP 500', durationMs: 40 },
    { ...failed, statusCode: null, error: 'timeout: no answer in 10 s', durationMs: 10_000 },
    { ...failed, statusCode: null, error: 'connection_refused: by 127.0.0.1', durationMs: 0 },
    { ...failed, statusCode: null, error: 'connection_reset: by 127.0.0.1', durationMs: 3 },
    { ...failed, statusCode: 410, error: 'HTTP 410', status: 'dead', retryInMs: null, deadReason: 'gone' },
    {
      ...failed,
      startedAt: null,
      durationMs: 0,
      statusCode: null,
      error: 'not sent',
      status: 'dead',
      retryInMs: null,
      deadReason: 'subscription_deleted',
    },
  ];
  const interruption = (claimed: ClaimedDelivery): AttemptResult =>
    delivered(claimed, {
      ...failed,
      attemptNumber: claimed.attemptNumber - 1,
      durationMs: 0,
      statusCode: null,
      error: 'interrupted: the worker stopped',
      retryInMs: null,
    });

  const lane = fc.nat(2);
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ does: fc.constant('arrive' as const), lane, count: fc.nat(4) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        does: fc.constant('attempt' as const),
        lane,
        quota: fc.integer({ min: 1, max: 8 }),
        ends: fc.array(fc.constantFrom(...ENDS), { minLength: 1, maxLength: 8 }),
        // It records only when others have long claimed the same again.
        isLate: fc.boolean(),
        // Nobody told it that it had been recorded.
        repeats: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ does: fc.constant('fold' as const), limit: fc.integer({ min: 1, max: 5 }) }),
    },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('break' as const) }) },
  );
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  it('whatever is recorded, by whomever, folded or not, while folds break', async () => {
    const breaking = new StatisticsRepository(new BreakingDatabase(dataSource));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
        async (groups) => {
          const tenantId = await rows.tenant();
          const subscriptionIds = await Promise.all([0, 1, 2].map(() => rows.subscription(tenantId)));
          const late: AttemptResult[] = [];
          const run = async (one: Step): Promise<void> => {
            if (one.does === 'fold') await statistics.fold(one.limit);
            if (one.does === 'break') await breaking.fold(100).catch(() => undefined);
            if (one.does === 'arrive') await makeDue(tenantId, subscriptionIds[one.lane]!, one.count);
            if (one.does !== 'attempt') return;
            const claimed = await claim(subscriptionIds[one.lane]!, one.quota, one.isLate ? 0 : 60);
            const results = claimed.map((delivery, index) =>
              delivered(delivery, one.ends[index % one.ends.length]),
            );
            const interruptions = claimed.filter(({ isInterrupted }) => isInterrupted).map(interruption);
            if (one.isLate) {
              late.push(...results);
              await lanes.record(interruptions);
            } else {
              const batch = [...results, ...interruptions, ...late.splice(0)];
              for (const part of distinct(batch)) {
                await lanes.record(part);
                if (one.repeats) await lanes.record(part);
              }
            }
          };
          for (const group of [[{ does: 'arrive', lane: 0, count: 4 } as const], ...groups]) {
            await Promise.all(group.map(run));
          }
          await expectExact(tenantId, subscriptionIds);
          await foldAll();
          expect(await rows.query('select 1 from delivery_stat_delta')).toEqual([]);
          await expectExact(tenantId, subscriptionIds);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('with folds of several processes at once, while others record', async () => {
    const tenantId = await rows.tenant();
    const subscriptionIds = await Promise.all([0, 1, 2, 3].map(() => rows.subscription(tenantId)));
    for (const id of subscriptionIds) await makeDue(tenantId, id, 60);
    let isOn = true;
    const folding = [1, 2, 3].map(async () => {
      while (isOn) await statistics.fold(3);
    });
    await Promise.all(
      subscriptionIds.map(async (id) => {
        for (let claimed = await claim(id, 3); claimed.length > 0; claimed = await claim(id, 3)) {
          await lanes.record(claimed.map((one, index) => delivered(one, ENDS[index])));
        }
      }),
    );
    isOn = false;
    await Promise.all(folding);
    await expectExact(tenantId, subscriptionIds);
    await foldAll();
    await expectExact(tenantId, subscriptionIds);
  });

  it('with what was given up because nobody was there to get it', async () => {
    const tenantId = await rows.tenant();
    const subscription = await rows.subscription(tenantId, { isActive: false });
    await makeDue(tenantId, subscription, 3);
    const { count } = await purges.expireBatch(Date.now() + 1_000, Date.now());
    expect(count).toBe(3);
    expect(await counted(tenantId, subscription, 'hour')).toMatchObject({ attempts: 0, dead: 3 });
    await expectExact(tenantId, [subscription]);
  });
});

/** One attempt is in one statement once. */
function distinct(results: AttemptResult[]): AttemptResult[][] {
  const parts: Map<string, AttemptResult>[] = [];
  for (const result of results) {
    const key = `${result.deliveryId} ${result.attemptNumber}`;
    let part = parts.find((one) => !one.has(key));
    if (!part) parts.push((part = new Map<string, AttemptResult>()));
    part.set(key, result);
  }
  return parts.map((part) => [...part.values()]);
}

/** Its transactions end when sums are to be written, as if the connection were lost. */
class BreakingDatabase extends Database {
  override transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return super.transaction((connection) =>
      work({
        ...connection,
        run: (statement: Statement | string, values?: unknown[]) =>
          typeof statement === 'object' && statement.name === 'add-statistics'
            ? Promise.reject(new Error('lost'))
            : connection.run(statement, values),
      }),
    );
  }
}

describe('dead letters over time', () => {
  const noted = (tenantId: string) =>
    rows.query<{ whose: string; size: number }>(
      `select case when subscription_id = '00000000-0000-0000-0000-000000000000' then 'all' else subscription_id::text end
         as whose, dlq_size as size
       from delivery_stat where tenant_id = $1 and resolution = 'minute' and dlq_size is not null order by 1 desc`,
      [tenantId],
    );
  const die = async (tenantId: string, subscription: string, times: number) => {
    for (let time = 0; time < times; time++) {
      await rows.delivery(tenantId, await rows.event(tenantId), subscription, { status: 'dead' });
    }
  };

  it('are noted by subscription and for all together, of everybody, when their number changes', async () => {
    const [one, other] = [await rows.tenant(), await rows.tenant()];
    const [a, b] = [await rows.subscription(one), await rows.subscription(one)];
    const c = await rows.subscription(other);
    await die(one, a, 2);
    await die(one, b, 1);
    await die(other, c, 1);
    expect(await statistics.sampleDeadLetters()).toBe(5);
    expect(new Set(await noted(one))).toEqual(
      new Set([
        { whose: 'all', size: 3 },
        { whose: a, size: 2 },
        { whose: b, size: 1 },
      ]),
    );
    expect(await noted(other)).toEqual([
      { whose: 'all', size: 1 },
      { whose: c, size: 1 },
    ]);
    expect(await statistics.sampleDeadLetters()).toBe(0);

    await rows.query(`delete from delivery where subscription_id = $1`, [a]);
    expect(await statistics.sampleDeadLetters()).toBe(2);
    expect(new Set(await noted(one))).toEqual(
      new Set([
        { whose: 'all', size: 1 },
        { whose: a, size: 0 },
        { whose: b, size: 1 },
      ]),
    );
    expect(await rows.query('select 1 from dead_letter_count where tenant_id = $1', [one])).toHaveLength(2);
  });

  it('are noted again after a day, so that the last note never goes with old rows', async () => {
    const tenantId = await rows.tenant();
    await die(tenantId, await rows.subscription(tenantId), 1);
    await statistics.sampleDeadLetters();
    await rows.query(`update dead_letter_count set noted_at = now() - interval '25 hours'`);
    expect(await statistics.sampleDeadLetters()).toBe(2);
  });

  it('stay as they were in a series until they change', async () => {
    const tenant = await api.tenant();
    const subscription = await rows.subscription(tenant.id);
    await die(tenant.id, subscription, 2);
    await statistics.sampleDeadLetters();
    await rows.query(`update delivery_stat set at = at - interval '5 hours' where resolution = 'hour'`);
    await die(tenant.id, subscription, 1);
    const sizes = async (path: string) =>
      ((await tenant.request('GET', path)).body.series as { dlq_size: number }[]).map((one) => one.dlq_size);
    const since = (ms: number) => new Date(Date.now() - ms).toISOString();
    expect(await sizes(`/stats?from=${since(7 * HOUR)}`)).toEqual([0, 0, 2, 2, 2, 2, 2, 3]);
    expect(await sizes(`/stats?from=${since(2 * HOUR)}`)).toEqual([2, 2, 3]);
    expect(await sizes(`/stats?from=${since(4 * HOUR)}&to=${since(3 * HOUR)}`)).toEqual([2, 2]);
  });
});

describe('GET /stats', () => {
  let tenant: TestTenant;
  let subscription: string;
  const get = async (query = '') => tenant.request('GET', `/stats${query}`);

  async function work(): Promise<void> {
    tenant = await api.tenant();
    subscription = await rows.subscription(tenant.id);
    await makeDue(tenant.id, subscription, 4);
    const claimed = await claim(subscription, 4);
    const failed = { statusCode: 500, success: false, error: 'HTTP 500' } as const;
    await lanes.record([
      delivered(claimed[0]!, { durationMs: 100 }),
      delivered(claimed[1]!, { durationMs: 100 }),
      delivered(claimed[2]!, { ...failed, durationMs: 1_000, status: 'retrying', retryInMs: HOUR }),
      delivered(claimed[3]!, { ...failed, durationMs: 100, status: 'dead', deadReason: 'exhausted' }),
    ]);
  }

  it.each(['minute', 'hour', 'day'])('says by the %s what happened, folded or not', async (interval) => {
    await work();
    const from = new Date(Date.now() - (interval === 'day' ? 3 * DAY : 2 * HOUR)).toISOString();
    const before = await get(`?interval=${interval}&from=${from}`);
    await foldAll();
    const after = await get(`?interval=${interval}&from=${from}`);
    for (const { status, body, text } of [before, after]) {
      expect(status, text).toBe(200);
      expect(body.totals).toMatchObject({
        attempts: 4,
        delivered: 2,
        failures: 2,
        retries: 0,
        dead: 1,
        success_rate: 0.5,
        dlq_size: 1,
      });
      const { p50, p95, p99 } = body.totals.latency_ms;
      expect(Math.abs(p50 - 100)).toBeLessThanOrEqual(5);
      expect(Math.abs(p95 - 1_000)).toBeLessThanOrEqual(50);
      expect(p99).toBe(p95);
      expect(body.totals.throughput_per_second).toBeGreaterThan(0);
      const step = { minute: MINUTE, hour: HOUR, day: DAY }[interval]!;
      const times = (body.series as { at: string }[]).map(({ at }) => Date.parse(at));
      expect(times).toEqual(Array.from(times, (_, index) => Date.parse(body.from as string) + index * step));
      expect(times.at(-1)! + step).toBe(Date.parse(body.to));
      expect(times[0]! % step).toBe(0);
      expect(body.series[0]).toEqual({
        at: body.from,
        attempts: 0,
        delivered: 0,
        failures: 0,
        retries: 0,
        dead: 0,
        success_rate: null,
        latency_ms: null,
        dlq_size: 0,
      });
      const busy = body.series.filter(({ attempts }: { attempts: number }) => attempts > 0);
      expect(busy).toMatchObject([{ attempts: 4, dead: 1 }]);
    }
  });

  it('is about one subscription where one is named, also when it is gone', async () => {
    await work();
    const other = await rows.subscription(tenant.id);
    await makeDue(tenant.id, other, 1);
    await lanes.record((await claim(other, 1)).map((one) => delivered(one)));
    await rows.query('delete from subscription where id = $1', [subscription]);
    const ask = async (id: string) => (await get(`?subscription_id=${id}`)).body.totals;
    for (let time = 0; time < 2; time++) {
      expect(await ask(subscription)).toMatchObject({ attempts: 4, dlq_size: 1 });
      expect(await ask(other.toUpperCase())).toMatchObject({ attempts: 1, dlq_size: 0 });
      expect(await ask(uuidV7(1))).toMatchObject({ attempts: 0, latency_ms: null, success_rate: null });
      expect((await get()).body.totals).toMatchObject({ attempts: 5 });
      const { body } = await tenant.request('GET', '/stats/subscriptions');
      expect(body.data).toMatchObject([
        { subscription_id: subscription, attempts: 4, failures: 2, dead: 1, success_rate: 0.5 },
        { subscription_id: other, attempts: 1, failures: 0, success_rate: 1 },
      ]);
      await foldAll();
    }
  });

  it('says of an interval in which a failure of an earlier one was taken back neither less than none nor more than all', async () => {
    await work();
    const [minute] = await rows.query<{ earlier: Date }>(
      `update delivery_stat_delta set minute = minute - interval '2 hours' returning minute as earlier`,
    );
    await rows.query(
      `insert into delivery_stat_delta (tenant_id, subscription_id, minute, attempts, failures, delivered)
       values ($1, $2, date_trunc('minute', now()), 2, -1, 3)`,
      [tenant.id, subscription],
    );
    for (let time = 0; time < 2; time++) {
      const from = minute!.earlier.toISOString();
      const { totals, series } = (await get(`?from=${from}`)).body;
      expect(totals).toMatchObject({ attempts: 6, failures: 1, success_rate: 5 / 6 });
      const busy = (series as { attempts: number }[]).filter(({ attempts }) => attempts > 0);
      expect(busy).toMatchObject([
        { failures: 2, success_rate: 0.5 },
        { failures: 0, success_rate: 1 },
      ]);
      await foldAll();
    }
  });

  it('shows nothing of another tenant', async () => {
    await work();
    const stranger = await api.tenant();
    for (let time = 0; time < 2; time++) {
      for (const path of ['/stats', `/stats?subscription_id=${subscription}`]) {
        const { body } = await stranger.request('GET', path);
        expect(body.totals).toMatchObject({
          attempts: 0,
          delivered: 0,
          dead: 0,
          dlq_size: 0,
          latency_ms: null,
        });
        expect(body.series.every((one: { attempts: number }) => one.attempts === 0)).toBe(true);
      }
      expect((await stranger.request('GET', '/stats/subscriptions')).body.data).toEqual([]);
      await foldAll();
      await statistics.sampleDeadLetters();
    }
  });

  it.each([
    ['interval=week', 'interval', 'minute, hour, day'],
    ['from=yesterday', 'from', 'RFC 3339'],
    ['subscription_id=1', 'subscription_id', 'id of a subscription'],
    ['from=2100-01-01T00:00:00Z', 'from', 'before `to`'],
    ['from=2020-01-02T00:00:00Z&to=2020-01-01T00:00:00Z', 'from', 'before `to`'],
    ['from=2020-01-01T00:10:00Z&to=2020-01-01T00:10:00Z', 'from', 'before `to`'],
    ['from=2020-01-01T00:20:00Z&to=2020-01-01T00:10:00Z', 'from', 'before `to`'],
    ['from=2020-01-01T00:00:00Z&to=2020-04-01T00:00:00Z', 'interval', 'take day'],
    ['interval=day&from=0001-01-01T00:00:00Z', 'interval', 'take a shorter time'],
    ['interval=minute&from=2020-01-01T00:00:00Z&to=2020-01-01T01:00:00Z', 'interval', 'take hour'],
    ['interval=minute&from=2020-01-01T00:00:00Z&to=2020-01-10T00:00:00Z', 'interval', 'take hour'],
  ])('refuses %s and says what would be right', async (query, path, message) => {
    tenant = await api.tenant();
    const { status, body } = await get(`?${query}`);
    expect(status).toBe(422);
    expect(body.errors).toMatchObject([{ path, message: expect.stringContaining(message) as string }]);
  });

  it('has as many points as may be', async () => {
    tenant = await api.tenant();
    const at = (ms: number) => new Date(ms).toISOString();
    const from = Date.parse('2026-01-01T00:00:00Z');
    const ask = async (hours: number) => get(`?from=${at(from)}&to=${at(from + hours * HOUR)}`);
    expect((await ask(1_500)).body.series).toHaveLength(1_500);
    expect((await ask(1_501)).status).toBe(422);
  });

  it('refuses too long a time by subscription, without a word of an interval', async () => {
    tenant = await api.tenant();
    const query = 'from=2020-01-01T00:00:00Z&to=2020-04-01T00:00:00Z';
    const { status, body } = await tenant.request('GET', `/stats/subscriptions?${query}`);
    expect(status).toBe(422);
    expect(body.errors).toEqual([{ path: 'from', message: 'must be at most 1,500 hours before `to`' }]);
  });
});

describe('rows of statistics', () => {
  const insert = (tenantId: string, resolution: string, at: number) =>
    rows.query(
      `insert into delivery_stat values ($1, $2, $3, $4, 1, 0, 0, 1, 0, '{0,1}', null)
       on conflict do nothing`,
      [tenantId, uuidV7(Date.now()), resolution, new Date(at)],
    );
  const kept = async () =>
    (await rows.query<{ at: Date }>('select at from delivery_stat')).map(({ at }) => +at);

  it.each(['minute', 'hour'] as const)(
    'of a %s go when they are older than that, however many',
    async (resolution) => {
      const tenantId = await rows.tenant();
      const now = Date.now();
      for (const at of [now - 2, now - 1, now, now + 1]) await insert(tenantId, resolution, at);
      await insert(tenantId, resolution === 'minute' ? 'hour' : 'minute', now - 10);
      await rows.query(
        `insert into delivery_stat select tenant_id, gen_random_uuid(), $1, to_timestamp(n), 1, 0, 0, 1, 0, '{}', null
       from delivery_stat, generate_series(1, 1000) n`,
        [resolution],
      );
      const counts = [];
      let next;
      do {
        const step = await purges.deleteStatistics(resolution, now);
        counts.push(step.count);
        ({ next } = step);
      } while (next !== null);
      expect(counts).toEqual([2_000, 2_000, 1_002]);
      expect((await kept()).sort()).toEqual([now - 10, now, now + 1]);
    },
  );

  it('go with their tenant, which does not go before them; nobody else’s do', async () => {
    const tenantPurge = new TenantPurgeRepository(connections);
    const [doomed, other] = [await rows.tenant(), await rows.tenant()];
    await rows.query("update tenant set deletion_requested_at = now() - interval '1 day' where id = $1", [
      doomed,
    ]);
    for (const tenantId of [doomed, other]) {
      await insert(tenantId, 'hour', Date.now());
      await rows.query(
        `insert into delivery_stat_delta (tenant_id, subscription_id, minute) values ($1, $1, now())`,
        [tenantId],
      );
      await rows.query(`insert into dead_letter_count values ($1, $1, 1, now())`, [tenantId]);
    }
    for (const table of ['delivery_stat_delta', 'delivery_stat', 'dead_letter_count'] as const) {
      expect(await tenantPurge.deleteTenant(doomed, 0)).toBe(false);
      expect(await tenantPurge.deleteOthers(doomed, table)).toEqual({ count: 1, next: null });
      const left = await rows.query<{ tenant_id: string }>(`select tenant_id from ${table}`);
      expect(left.map(({ tenant_id }) => tenant_id)).toEqual([other]);
    }
    expect(await tenantPurge.deleteTenant(doomed, 0)).toBe(true);
  });

  it('are not made of what a worker records for a tenant that is gone', async () => {
    await rows.query(
      `insert into delivery_stat_delta (tenant_id, subscription_id, minute, attempts) values ($1, $1, now(), 1)`,
      [uuidV7(1)],
    );
    expect(await statistics.fold(10)).toBe(1);
    expect(await kept()).toEqual([]);
  });
});
