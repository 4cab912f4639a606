import fc from 'fast-check';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CleanupService } from '../../src/cleanup/cleanup.service.js';
import { TenantPurge } from '../../src/cleanup/tenant-purge.js';
import { loadConfig } from '../../src/config/config.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { createLogger } from '../../src/observability/logger.js';
import { dataSourceOptions } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import { EventRepository } from '../../src/persistence/repositories/event.repository.js';
import { HeartbeatRepository } from '../../src/persistence/repositories/heartbeat.repository.js';
import { LaneRepository } from '../../src/persistence/repositories/lane.repository.js';
import { PartitionRepository } from '../../src/persistence/repositories/partition.repository.js';
import { PurgeRepository } from '../../src/persistence/repositories/purge.repository.js';
import { TenantPurgeRepository } from '../../src/persistence/repositories/tenant-purge.repository.js';
import { createDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { delivered } from '../support/results.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const RETENTION = 72 * HOUR;
const DLQ_RETENTION = 30 * DAY;

/** A day in the past, and the first moment at which all of it has had its time. */
const OLD_DAY = Date.parse('2026-01-10T00:00:00Z');
const NOW = OLD_DAY + DAY + RETENTION;
const CUT_OFF = NOW - RETENTION;
const DLQ_CUT_OFF = NOW - DLQ_RETENTION;
const NOTHING = {
  key_generations: 0,
  days_dropped: 0,
  days_rewritten: 0,
  postponed: false,
  deliveries: 0,
  attempts: 0,
  events: 0,
  keys: 0,
  expired: 0,
  audit_entries: 0,
  statistics: 0,
  idempotent_requests: 0,
};

let database: Awaited<ReturnType<typeof createDatabase>>;
let dataSource: DataSource;
let rows: Rows;
let partitions: PartitionRepository;
let lanes: LaneRepository;
let cleanup: CleanupService;
let tenant: string;
let subscription: string;

beforeEach(async () => {
  database = await createDatabase();
  dataSource = await new DataSource(dataSourceOptions(database.url, 4)).initialize();
  rows = new Rows(database.url);
  const connections = new Database(dataSource);
  partitions = new PartitionRepository(connections);
  lanes = new LaneRepository(connections);
  const config = loadConfig({ DATABASE_URL: database.url, ENCRYPTION_KEY });
  const logger = createLogger('silent', 'scheduler');
  cleanup = new CleanupService(
    partitions,
    new PurgeRepository(connections),
    new TenantPurge(new TenantPurgeRepository(connections), logger),
    new HeartbeatRepository(connections),
    config,
    logger,
  );
  tenant = await rows.tenant();
  subscription = await rows.subscription(tenant);
  // Of a database that is made today; that of one that was migrated changes at the first run.
  await rows.query(`update maintenance_run set started_at = now() where task = 'key-generation'`);
});
afterEach(async () => {
  await rows.end();
  await dataSource.destroy();
  await database.drop();
});

/** The ids of a table, or those among `ids`. */
async function present(table: 'event' | 'delivery', ids: Record<string, string>): Promise<string[]> {
  const found = await rows.query<{ id: string }>(`select id from ${table} where id = any ($1)`, [
    Object.values(ids),
  ]);
  const there = new Set(found.map(({ id }) => id));
  return Object.keys(ids).filter((name) => there.has(ids[name]!));
}

async function hasPartitions(day: number): Promise<boolean[]> {
  const suffix = new Date(day).toISOString().slice(0, 10).replaceAll('-', '');
  const found = await rows.query<{ exists: boolean }>(
    `select to_regclass(name) is not null as exists from unnest($1::text[]) with ordinality as t(name, n) order by n`,
    [['event', 'delivery', 'delivery_attempt'].map((table) => `${table}_${suffix}`)],
  );
  return found.map(({ exists }) => exists);
}

/** An event with one delivery of it and, by default, one attempt. */
async function one(at: number, options: Parameters<Rows['delivery']>[3] = {}, to = subscription) {
  const event = await rows.event(tenant, { at, payload: `{"at": ${at}.0}`, deliveryCount: 1 });
  return { event, delivery: await rows.delivery(tenant, event, to, { attempts: 1, ...options }) };
}

describe('a day that has had its time', () => {
  beforeEach(() => partitions.createAhead(OLD_DAY));

  it('is dropped whole, and not a millisecond before', async () => {
    const first = await one(OLD_DAY, { status: 'delivered' });
    const last = await one(OLD_DAY + DAY - 1, { status: 'delivered' });
    const next = await one(OLD_DAY + DAY, { status: 'delivered' });
    const events = { first: first.event, last: last.event, next: next.event };

    expect(await cleanup.run(NOW - 1)).toEqual(NOTHING);
    expect(await present('event', events)).toEqual(['first', 'last', 'next']);

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_dropped: 1 });
    expect(await hasPartitions(OLD_DAY)).toEqual([false, false, false]);
    expect(await present('event', events)).toEqual(['next']);
    expect(await cleanup.run(NOW)).toEqual(NOTHING);
  });

  it('gives up nothing that is due, no young dead letter and nothing that ended lately', async () => {
    const at = OLD_DAY + 5 * HOUR;
    const made = {
      pending: await one(at),
      retrying: await one(at, { status: 'retrying', dueAt: NOW + HOUR }),
      claimed: await one(at, { status: 'delivering' }),
      interrupted: await one(at, { status: 'delivering', leasedUntil: OLD_DAY }),
      deadYoung: await one(at, { status: 'dead', endedAt: CUT_OFF - 1 }),
      deadAtCutOff: await one(at, { status: 'dead', endedAt: DLQ_CUT_OFF }),
      deadOld: await one(at, { status: 'dead', endedAt: DLQ_CUT_OFF - 1 }),
      delivered: await one(at, { status: 'delivered', endedAt: CUT_OFF - 1 }),
      deliveredAtCutOff: await one(at, { status: 'delivered', endedAt: CUT_OFF }),
      cancelled: await one(at, { status: 'cancelled', endedAt: CUT_OFF - 1 }),
      cancelledAtCutOff: await one(at, { status: 'cancelled', endedAt: CUT_OFF }),
    };
    const unwanted = await rows.event(tenant, { at });
    const only = (part: 'event' | 'delivery') =>
      Object.fromEntries(Object.entries(made).map(([name, ids]) => [name, ids[part]]));
    const kept = [
      'pending',
      'retrying',
      'claimed',
      'interrupted',
      'deadYoung',
      'deadAtCutOff',
      'deliveredAtCutOff',
      'cancelledAtCutOff',
    ];

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_dropped: 1 });

    expect(await present('delivery', only('delivery'))).toEqual(kept);
    expect(await present('event', only('event'))).toEqual(kept);
    expect(await present('event', { unwanted })).toEqual([]);
    const attempts = await rows.query('select delivery_id from delivery_attempt');
    expect(attempts).toHaveLength(kept.length);
    expect(await cleanup.run(NOW)).toEqual(NOTHING);
  });

  it('keeps of an event only the deliveries that are kept', async () => {
    const event = await rows.event(tenant, { at: OLD_DAY, deliveryCount: 2 });
    const done = await rows.delivery(tenant, event, subscription, { status: 'delivered', attempts: 1 });
    const due = await rows.delivery(tenant, event, await rows.subscription(tenant), { attempts: 1 });

    await cleanup.run(NOW);

    expect(await present('delivery', { done, due })).toEqual(['due']);
    expect(await rows.query('select delivery_id from delivery_attempt')).toEqual([{ delivery_id: due }]);
    expect(await new EventRepository(new Database(dataSource)).find(tenant, event)).toMatchObject({
      id: event,
      counts: { open: 1, delivered: 0, dead: 0, cancelled: 0 },
    });
  });

  it('lets what was kept go on: a worker’s result counts, and the rest can be claimed', async () => {
    const claimed = await one(OLD_DAY, { status: 'pending' });
    const [claim] = await lanes.claimDue([{ subscriptionId: subscription, quota: 1 }], 60);
    const due = await one(OLD_DAY, { status: 'pending' });

    await cleanup.run(NOW);

    const done = await lanes.record([delivered(claim!)]);
    expect([...done]).toEqual([claimed.delivery]);
    const [next] = await lanes.claimDue([{ subscriptionId: subscription, quota: 5 }], 60);
    expect(next).toMatchObject({ id: due.delivery, payload: Buffer.from(`{"at": ${OLD_DAY}.0}`) });
  });

  it('is purged row by row while it holds too much that is due', async () => {
    const blocker = await rows.event(tenant, { at: OLD_DAY + 1 });
    const due = Array.from({ length: 10_001 }, () => uuidV7(OLD_DAY + 1));
    await rows.query(
      `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, next_attempt_at, created_at)
       select id, $2, $3, $4, 'order.paid', 'pending', $5, $5 from unnest($1::uuid[]) as t(id)`,
      [due, tenant, blocker, subscription, new Date(OLD_DAY)],
    );
    const done = await one(OLD_DAY, { status: 'delivered' });
    const alsoDone = await rows.delivery(tenant, blocker, subscription, { status: 'delivered', attempts: 1 });

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, deliveries: 2, attempts: 2, events: 1 });
    expect(await hasPartitions(OLD_DAY)).toEqual([true, true, true]);
    expect(await present('delivery', { done: done.delivery, alsoDone })).toEqual([]);
    expect(await present('event', { done: done.event, blocker })).toEqual(['blocker']);
    expect(await rows.query('select count(*)::int from delivery')).toEqual([{ count: due.length }]);

    await rows.query(`update delivery set status = 'delivered', next_attempt_at = null, completed_at = $1`, [
      new Date(CUT_OFF - 1),
    ]);
    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_dropped: 1 });
    expect(await rows.query('select count(*)::int from delivery')).toEqual([{ count: 0 }]);
  });

  it.each(['delivery', 'delivery_attempt', 'event'])(
    'waits for the next run when %s is in use',
    async (table) => {
      const due = await one(OLD_DAY);
      const done = await one(OLD_DAY, { status: 'delivered' });
      const reader = new pg.Client({ connectionString: database.url });
      await reader.connect();
      await reader.query('begin');
      await reader.query(`lock table ${table} in access share mode`);

      expect(await cleanup.run(NOW)).toMatchObject({ days_dropped: 0, postponed: true });
      expect(await present('delivery', { due: due.delivery })).toEqual(['due']);
      expect(await present('event', { due: due.event })).toEqual(['due']);

      await reader.query('commit');
      await reader.end();
      expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_dropped: 1 });
      expect(await hasPartitions(OLD_DAY)).toEqual([false, false, false]);
      expect(await present('event', { due: due.event, done: done.event })).toEqual(['due']);
      expect(await rows.query('select delivery_id from delivery_attempt')).toEqual([
        { delivery_id: due.delivery },
      ]);
    },
  );

  it('is dropped while events come in and are delivered, without failing any of them', async () => {
    for (let day = OLD_DAY; day < OLD_DAY + 12 * DAY; day += 4 * DAY) {
      await partitions.createAhead(day);
      for (let i = 0; i < 4; i++) await one(day + i * DAY);
    }
    const load = await busyEngine();
    try {
      expect(await cleanup.run(OLD_DAY + 12 * DAY + RETENTION)).toMatchObject({ days_dropped: 12 });
    } finally {
      await load.stop();
    }
    expect(load.rounds()).toBeGreaterThan(20);
    const open = await rows.query('select count(*)::int from delivery where next_attempt_at is not null');
    expect(open).toEqual([{ count: 0 }]);
  });
});

describe('a day of which much is kept', () => {
  /** As many events of the day with a delivery and an attempt each. */
  const many = (count: number, status: string, dueAt: number | null, endedAt: number | null) =>
    rows.query(
      `with made as (
         select (to_hex_id || '7' || substr(gen_random_uuid()::text, 16))::uuid as id
         from (select lpad(to_hex($1::bigint + n), 12, '0') as to_hex_id from generate_series(1, $2) n) t
       ), events as (
         insert into event (id, tenant_id, event_id, event_type, payload, delivery_count, received_at)
         select id, $3, id::text, 'order.paid', convert_to('{}', 'UTF8'), 1, now() from made
       ), deliveries as (
         insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count,
           next_attempt_at, completed_at, dead_at, dead_reason, created_at)
         select id, $3, id, $4, 'order.paid', $5::text, 1, $6::timestamptz, $7::timestamptz,
           case when $5 = 'dead' then $7::timestamptz end, case when $5 = 'dead' then 'exhausted' end, now()
         from made
       )
       insert into delivery_attempt (delivery_id, attempt_number, started_at, duration_ms, success)
       select id, 1, now(), 1, false from made`,
      [OLD_DAY, count, tenant, subscription, status, dueAt && new Date(dueAt), endedAt && new Date(endedAt)],
    );
  const count = async (table: string) =>
    (await rows.query<{ count: number }>(`select count(*)::int from ${table}`))[0]?.count;
  const size = async () =>
    (
      await rows.query<{ size: number }>(
        `select sum(pg_total_relation_size(format('%s_20260110', t)))::int as size
         from unnest('{event,delivery,delivery_attempt}'::text[]) t`,
      )
    )[0]!.size;

  beforeEach(async () => {
    await partitions.createAhead(OLD_DAY);
    await many(30_000, 'delivered', null, CUT_OFF - 1);
  });

  it('is rewritten to that, without dead rows and without empty space', async () => {
    await many(10_001, 'dead', null, CUT_OFF);
    await rows.query('analyze event, delivery, delivery_attempt');
    const before = await size();

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_rewritten: 1 });

    expect(await Promise.all(['event', 'delivery', 'delivery_attempt'].map(count))).toEqual(
      Array.from({ length: 3 }, () => 10_001),
    );
    expect(await size()).toBeLessThan(before / 2);
    expect(await cleanup.run(NOW)).toEqual(NOTHING);

    const longAfter = NOW + DLQ_RETENTION;
    // With the three days that were made ahead of it.
    expect(await cleanup.run(longAfter)).toMatchObject({ days_dropped: 4 });
    expect(await count('delivery')).toBe(0);
  });

  it('loses nothing of what happens meanwhile', async () => {
    await many(10_001, 'retrying', OLD_DAY, null);
    await rows.query('analyze event, delivery, delivery_attempt');
    const recorded = new Map<string, { status: string; attempts: number }>();
    let isOn = true;
    const loops = [1, 2, 3].map(async () => {
      for (let turn = 0; isOn; turn++) {
        const claimed = await lanes.claimDue([{ subscriptionId: subscription, quota: 40 }], 60);
        const status = turn % 2 === 0 ? 'delivered' : 'retrying';
        const results = claimed.map((one) =>
          delivered(one, { status, retryInMs: status === 'retrying' ? HOUR : null }),
        );
        const done = await lanes.record(results);
        for (const { deliveryId, attemptNumber } of results) {
          if (done.has(deliveryId)) recorded.set(deliveryId, { status, attempts: attemptNumber });
        }
      }
    });
    try {
      await waitFor(() => recorded.size > 0, { what: 'results' });
      const before = recorded.size;
      expect(await cleanup.run(NOW)).toMatchObject({ days_rewritten: 1 });
      expect(recorded.size).toBeGreaterThan(before);
    } finally {
      isOn = false;
      await Promise.all(loops);
    }
    const left = await rows.query<{ id: string; status: string; attempts: number; events: number }>(
      `select d.id, d.status, (select count(*)::int from delivery_attempt a where a.delivery_id = d.id) as attempts,
              (select count(*)::int from event e where e.id = d.event_id) as events
       from delivery d`,
    );
    const delivery = new Map(left.map(({ id, ...rest }) => [id, rest]));
    // What ended before the purge looked has gone with it only if it had its time, which it had not.
    for (const [id, expected] of recorded) expect(delivery.get(id)).toEqual({ ...expected, events: 1 });
    expect(left).toHaveLength(10_001);
  });

  it('is not rewritten for what ended late and has its time still', async () => {
    await many(10_001, 'delivered', null, CUT_OFF);
    await rows.query('analyze event, delivery, delivery_attempt');

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_rewritten: 1 });
    expect(await cleanup.run(NOW)).toEqual(NOTHING);
    expect(await Promise.all(['event', 'delivery', 'delivery_attempt'].map(count))).toEqual(
      Array.from({ length: 3 }, () => 10_001),
    );
    expect(
      await rows.query(`select reloptions from pg_class where oid = 'delivery_20260110'::regclass`),
    ).toEqual([{ reloptions: ['fillfactor=85'] }]);
  });

  const leftovers = () =>
    rows.query(`select relname as name from pg_class where relname like '%\\_next' and relkind = 'r'
                union all select tgname from pg_trigger where tgname = 'note_partition_change'`);
  /** What a process leaves that is killed while it copies. */
  const interruptedRewrite = () =>
    rows.query(`create table event_20260110_next (like event_20260110);
                create trigger note_partition_change after update on event_20260110
                  for each row execute function note_partition_change('id')`);

  it('is rid of a rewrite that failed, and purged row by row meanwhile', async () => {
    await many(10_001, 'dead', null, CUT_OFF);
    await rows.query('analyze event, delivery, delivery_attempt');
    await rows.query('create view in_the_way as select id from delivery_20260110');

    expect(await cleanup.run(NOW)).toEqual({
      ...NOTHING,
      deliveries: 30_000,
      attempts: 30_000,
      events: 30_000,
    });
    expect(await leftovers()).toEqual([]);
  });

  it('is rid of a rewrite that was interrupted when it is dropped', async () => {
    await interruptedRewrite();
    expect(await cleanup.run(NOW)).toMatchObject({ days_dropped: 1 });
    expect(await leftovers()).toEqual([]);
  });

  it('is rid of a rewrite that was interrupted when it is not rewritten again', async () => {
    await many(30_001, 'dead', null, CUT_OFF);
    await rows.query('analyze event, delivery, delivery_attempt');
    await interruptedRewrite();
    expect(await cleanup.run(NOW)).toMatchObject({ days_dropped: 0, days_rewritten: 0, deliveries: 30_000 });
    expect(await leftovers()).toEqual([]);
  });

  it('is rewritten, too, where few deliveries have large payloads', async () => {
    const kept = await one(OLD_DAY, { status: 'dead', endedAt: CUT_OFF });
    await rows.query('analyze event, delivery, delivery_attempt');
    await rows.query(`update event set payload = convert_to(repeat('x', 16777217), 'UTF8') where id = $1`, [
      kept.event,
    ]);

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, days_rewritten: 1 });
    expect(await present('event', { kept: kept.event })).toEqual(['kept']);
    expect(await count('event')).toBe(1);
  });
});

describe('rows in the default partitions', () => {
  it('go when they have had their time, and not a millisecond before', async () => {
    const made = {
      due: await one(OLD_DAY),
      delivered: await one(OLD_DAY, { status: 'delivered', endedAt: CUT_OFF - 1 }),
      deliveredAtCutOff: await one(OLD_DAY, { status: 'delivered', endedAt: CUT_OFF }),
      cancelled: await one(OLD_DAY, { status: 'cancelled', endedAt: CUT_OFF - 1 }),
      dead: await one(OLD_DAY, { status: 'dead', endedAt: DLQ_CUT_OFF - 1 }),
      deadAtCutOff: await one(OLD_DAY, { status: 'dead', endedAt: DLQ_CUT_OFF }),
      eventBefore: await one(CUT_OFF - 1, { status: 'delivered', endedAt: CUT_OFF - 1 }),
      eventAtCutOff: await one(CUT_OFF, { status: 'delivered', endedAt: CUT_OFF - 1 }),
    };
    const unwanted = {
      before: await rows.event(tenant, { at: CUT_OFF - 1 }),
      atCutOff: await rows.event(tenant, { at: CUT_OFF }),
    };
    await rows.attempt(uuidV7(OLD_DAY), 1); // its delivery is gone long since
    const kept = ['due', 'deliveredAtCutOff', 'deadAtCutOff', 'eventAtCutOff'];

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, deliveries: 4, attempts: 5, events: 5 });

    for (const part of ['event', 'delivery'] as const) {
      const ids = Object.fromEntries(Object.entries(made).map(([name, pair]) => [name, pair[part]]));
      expect(await present(part, ids), part).toEqual(kept);
    }
    expect(await present('event', unwanted)).toEqual(['atCutOff']);
    expect(await rows.query('select 1 from delivery_attempt')).toHaveLength(kept.length);
    expect(await cleanup.run(NOW)).toEqual(NOTHING);
  });

  it('all go, however many, also behind many that stay', async () => {
    const event = await rows.event(tenant, { at: OLD_DAY });
    const make = async (count: number, at: number, isDue: boolean) =>
      rows.query(
        `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, next_attempt_at,
           completed_at, created_at)
         select id, $2, $3, $4, 'order.paid', $5, $6, $7, now() from unnest($1::uuid[]) as t(id)`,
        [
          Array.from({ length: count }, () => uuidV7(at)),
          tenant,
          event,
          subscription,
          isDue ? 'pending' : 'delivered',
          isDue ? new Date(at) : null,
          isDue ? null : new Date(at),
        ],
      );
    await make(2_500, OLD_DAY, true);
    await make(4_100, OLD_DAY + 1, false);

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, deliveries: 4_100 });
    expect(await rows.query('select count(*)::int from delivery')).toEqual([{ count: 2_500 }]);
  });
});

it('keeps exactly what is due, young or lately ended, each with its event and attempts', async () => {
  const status = fc.constantFrom('pending', 'retrying', 'delivering', 'delivered', 'dead', 'cancelled');
  const around = (...times: number[]) =>
    fc.constantFrom(...times.flatMap((time) => [time - 1, time, time + 1]));
  const delivery = fc.record({
    status,
    at: around(OLD_DAY, OLD_DAY + DAY, CUT_OFF, OLD_DAY - DAY, DLQ_CUT_OFF),
    endedAt: around(CUT_OFF, DLQ_CUT_OFF),
  });

  await fc.assert(
    fc.asyncProperty(
      fc.array(delivery, { minLength: 1, maxLength: 25 }),
      fc.boolean(),
      async (wanted, prepared) => {
        await rows.query('truncate event, delivery, delivery_attempt');
        if (prepared) await partitions.createAhead(OLD_DAY);
        const made = [];
        for (const { at, ...options } of wanted) made.push({ ...(await one(at, options)), ...options, at });

        await cleanup.run(NOW);

        const left = await rows.query<{ id: string; event: string; attempts: number }>(
          `select d.id, e.id as event, (select count(*)::int from delivery_attempt a where a.delivery_id = d.id) as attempts
         from delivery d left join event e on e.id = d.event_id`,
        );
        const expected = made.filter(({ at, status, endedAt }) => {
          if (['pending', 'retrying', 'delivering'].includes(status)) return true;
          if (at >= CUT_OFF) return true;
          return endedAt >= (status === 'dead' ? DLQ_CUT_OFF : CUT_OFF);
        });
        const order = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
        expect(left.sort(order)).toEqual(
          expected.map(({ delivery: id, event }) => ({ id, event, attempts: 1 })).sort(order),
        );
        expect(await rows.query('select 1 from event')).toHaveLength(expected.length);
        expect(await rows.query('select 1 from delivery_attempt')).toHaveLength(expected.length);
      },
    ),
    { numRuns: 12 },
  );
});

describe('idempotency keys', () => {
  let events: EventRepository;
  beforeEach(() => {
    events = new EventRepository(new Database(dataSource));
  });

  const generationBegan = (at: number) =>
    rows.query(`update maintenance_run set started_at = $1 where task = 'key-generation'`, [new Date(at)]);
  const keys = async (table: string) =>
    (await rows.query<{ key: string }>(`select key from ${table} order by key`)).map(({ key }) => key);
  const generations = async () => ({
    present: await keys('idempotency_key'),
    old: await keys('idempotency_key_old'),
  });
  const event = (at: number, key: string) => ({
    id: uuidV7(at),
    tenantId: tenant,
    eventId: key,
    eventType: 'order.paid',
    idempotencyKey: key,
    fingerprint: Buffer.alloc(32),
    payload: Buffer.from('{}'),
    contentType: null,
    sourceId: null,
    requestId: null,
    receivedAt: new Date(at),
    wantedBy: [],
  });

  it('grow old after the retention time, and are forgotten after another, not a millisecond before', async () => {
    await generationBegan(CUT_OFF);
    await rows.event(tenant, { at: CUT_OFF, key: 'first' });
    expect(await cleanup.run(NOW - 1)).toEqual(NOTHING);
    expect(await generations()).toEqual({ present: ['first'], old: [] });

    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, key_generations: 1 });
    expect(await generations()).toEqual({ present: [], old: ['first'] });

    await rows.event(tenant, { at: NOW, key: 'second' });
    expect(await cleanup.run(NOW + RETENTION - 1)).not.toMatchObject({ key_generations: 1 });
    expect(await generations()).toEqual({ present: ['second'], old: ['first'] });

    expect(await cleanup.run(NOW + RETENTION)).toMatchObject({ key_generations: 1 });
    expect(await generations()).toEqual({ present: [], old: ['second'] });
  });

  it('hold their event in either generation, and in the old one until its time is over', async () => {
    const first = event(CUT_OFF, 'k');
    await events.insert([first]);
    await generationBegan(CUT_OFF);
    await cleanup.run(NOW);

    expect([...(await events.insert([event(NOW, 'k')], CUT_OFF))]).toEqual([]);
    const [holder] = await events.findByKeys([{ tenantId: tenant, key: 'k' }], CUT_OFF);
    expect(holder?.eventId).toBe(first.id);

    const again = event(NOW + 1, 'k');
    expect([...(await events.insert([again], CUT_OFF + 1))]).toEqual([again.id]);
    const [now] = await events.findByKeys([{ tenantId: tenant, key: 'k' }], CUT_OFF + 1);
    expect(now?.eventId).toBe(again.id);
    expect([...(await events.insert([event(NOW + 2, 'k')], CUT_OFF + 1))]).toEqual([]);
  });

  it('are taken once while generations change', async () => {
    const source = await new DataSource(dataSourceOptions(database.url, 6)).initialize();
    const writers = Array.from({ length: 4 }, () => new EventRepository(new Database(source)));
    const purges = new PurgeRepository(new Database(dataSource));
    const since = Date.now() - RETENTION;
    const taken = new Map<string, number>();
    let isOn = true;
    let round = 0;
    try {
      const loops = writers.map(async (writer) => {
        while (isOn) {
          const names = Array.from({ length: 20 }, (_, n) => `${(round + n) >> 3}`);
          const batch = names.map((name) => event(Date.now(), name));
          const written = await writer.insert(batch, since);
          for (const { id, idempotencyKey } of batch) {
            if (written.has(id)) taken.set(idempotencyKey, (taken.get(idempotencyKey) ?? 0) + 1);
          }
          round++;
        }
      });
      for (let rotations = 0; rotations < 12;) {
        const before = round;
        await waitFor(() => round > before + 40, { what: 'events' });
        // Only what was just written is sent again: keys of the generation before the last have had their time.
        await generationBegan(since - 1);
        if ((await purges.rotateKeys(since, Date.now())) === 'rotated') rotations++;
      }
      isOn = false;
      await Promise.all(loops);
    } finally {
      isOn = false;
      await source.destroy();
    }
    expect(taken.size).toBeGreaterThan(50);
    expect([...taken].filter(([, times]) => times !== 1)).toEqual([]);
  });

  it('and the events they name wait for the next run while they are in use', async () => {
    await partitions.createAhead(OLD_DAY);
    const done = await one(OLD_DAY, { status: 'delivered' });
    await generationBegan(CUT_OFF);
    const reader = new pg.Client({ connectionString: database.url });
    await reader.connect();
    await reader.query('begin; select 1 from idempotency_key_old');

    expect(await cleanup.run(NOW)).toMatchObject({ key_generations: 0, days_dropped: 0, postponed: true });
    expect(await present('event', { done: done.event })).toEqual(['done']);

    await reader.query('commit');
    await reader.end();
    expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, key_generations: 1, days_dropped: 1 });
  });
});

it.each([
  ['a subscription that is switched off', () => rows.subscription(tenant, { isActive: false })],
  ['a tenant that is suspended', () => subscriptionOfSuspended()],
])('ends what waited too long for %s', async (_, held) => {
  const off = await held();
  const at = DLQ_CUT_OFF - DAY;
  const made = {
    long: await one(at, { dueAt: DLQ_CUT_OFF - 1 }, off),
    lost: await one(at, { dueAt: DLQ_CUT_OFF - 1, status: 'delivering', leasedUntil: NOW }, off),
    inHand: await one(at, { dueAt: DLQ_CUT_OFF - 1, status: 'delivering', leasedUntil: NOW + 1 }, off),
    notYet: await one(at, { dueAt: DLQ_CUT_OFF }, off),
    active: await one(at, { dueAt: DLQ_CUT_OFF - 1 }),
  };

  expect(await cleanup.run(NOW)).toEqual({ ...NOTHING, expired: 2 });

  const dead = await rows.query(
    'select id, dead_reason, dead_at, completed_at from delivery where status = $1',
    ['dead'],
  );
  const now = new Date(NOW);
  const expired = { dead_reason: 'expired', dead_at: now, completed_at: now };
  expect(dead).toHaveLength(2);
  expect(dead).toEqual(
    expect.arrayContaining([made.long, made.lost].map(({ delivery: id }) => ({ id, ...expired }))),
  );
  expect(await cleanup.run(NOW)).toEqual(NOTHING);
});

async function subscriptionOfSuspended(): Promise<string> {
  const suspended = await rows.tenant();
  await rows.query('update tenant set suspended = true where id = $1', [suspended]);
  return rows.subscription(suspended);
}

it('forgets processes that were last seen more than a day ago', async () => {
  await rows.query(
    `insert into heartbeat (process_id, role, host, seen_at)
     values (gen_random_uuid(), 'api', 'gone', now() - interval '1 day 1 second'),
            (gen_random_uuid(), 'api', 'there', now() - interval '23 hours 59 minutes')`,
  );
  await cleanup.run(NOW);
  expect(await rows.query('select host from heartbeat')).toEqual([{ host: 'there' }]);
});

it('makes partitions for the days ahead, and moves into them what came before', async () => {
  const early = await one(OLD_DAY, { status: 'delivered' });

  await Promise.all([1, 2, 3].map(() => partitions.createAhead(OLD_DAY + DAY - 1)));

  for (let day = OLD_DAY; day <= OLD_DAY + 3 * DAY; day += DAY) {
    expect(await hasPartitions(day), new Date(day).toISOString()).toEqual([true, true, true]);
  }
  const [{ partition } = { partition: '' }] = await rows.query<{ partition: string }>(
    'select tableoid::regclass::text as partition from delivery where id = $1',
    [early.delivery],
  );
  expect(partition).toBe('delivery_20260110');
  expect(await rows.query('select 1 from delivery_attempt_20260110')).toHaveLength(1);
  expect(await rows.query('select 1 from event_20260110')).toHaveLength(1);
});

/** Ingests, claims and records without a pause until it is stopped, which throws what failed meanwhile. */
async function busyEngine(): Promise<{ rounds(): number; stop(): Promise<void> }> {
  const source = await new DataSource(dataSourceOptions(database.url, 6)).initialize();
  const connections = new Database(source);
  const [events, engine] = [new EventRepository(connections), new LaneRepository(connections)];
  let isOn = true;
  let rounds = 0;
  const ingest = async () => {
    const now = Date.now();
    const id = uuidV7(now);
    await events.insert([
      {
        id,
        tenantId: tenant,
        eventId: id,
        eventType: 'order.paid',
        idempotencyKey: id,
        fingerprint: Buffer.alloc(32),
        payload: Buffer.from('{}'),
        contentType: null,
        sourceId: null,
        requestId: null,
        receivedAt: new Date(now),
        wantedBy: [{ id: subscription }],
      },
    ]);
  };
  const deliver = async () => {
    const claimed = await engine.claimDue([{ subscriptionId: subscription, quota: 20 }], 60);
    await engine.record(claimed.map((one) => delivered(one)));
    return claimed.length;
  };
  const loops = [ingest, ingest, ingest, deliver, deliver].map(async (work) => {
    for (; isOn; rounds++) await work();
  });
  return {
    rounds: () => rounds,
    stop: async () => {
      isOn = false;
      try {
        await Promise.all(loops);
        while ((await deliver()) > 0);
      } finally {
        await source.destroy();
      }
    },
  };
}

it.each(['delivery', 'event'])('purges all else when %s of a day cannot be dropped', async (table) => {
  await partitions.createAhead(OLD_DAY);
  await one(OLD_DAY, { status: 'delivered' });
  await one(OLD_DAY + DAY, { status: 'delivered' });
  const off = await rows.subscription(tenant, { isActive: false });
  await one(OLD_DAY + 9 * DAY, { dueAt: DLQ_CUT_OFF - 1 }, off);
  // What makes dropping it fail, and is no lock.
  await rows.query(`create view in_the_way as select id from ${table}_20260110`);

  const failing = await cleanup.run(OLD_DAY + 10 * DAY);
  expect(failing).toMatchObject({ days_dropped: 3, expired: 1 });
  expect(await cleanup.run(OLD_DAY + 10 * DAY)).toMatchObject({ days_dropped: 0 });

  await rows.query('drop view in_the_way');
  expect(await cleanup.run(OLD_DAY + 10 * DAY)).toMatchObject({ days_dropped: 1 });
  expect(await rows.query('select 1 from event')).toHaveLength(1);
});
