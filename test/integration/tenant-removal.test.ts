import { SchedulerRegistry } from '@nestjs/schedule';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { dataSourceOptions } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import { EventRepository, type NewEvent } from '../../src/persistence/repositories/event.repository.js';
import { LaneRepository } from '../../src/persistence/repositories/lane.repository.js';
import { TenantPurgeRepository } from '../../src/persistence/repositories/tenant-purge.repository.js';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { client, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { openExplained } from '../support/plans.js';
import { freshRedis } from '../support/redis.js';
import { delivered } from '../support/results.js';
import { Rows } from '../support/rows.js';
import { fingerprint, stateOf } from '../support/tenant-state.js';
import { waitFor } from '../support/wait-for.js';

const DAY = 86_400_000;
const STEP = 2_000;

let database: Awaited<ReturnType<typeof createDatabase>>;
let redisUrl: string;
let rows: Rows;
let dataSource: DataSource;
let lanes: LaneRepository;
let events: EventRepository;
let purges: TenantPurgeRepository;
/** Two processes that answer, and none that delivers: whatever else is done here is done by hand. */
let api: Posthorn;
let otherApi: Posthorn;
let simulator: Simulator;
const running: Posthorn[] = [];

beforeAll(async () => {
  database = await createDatabase();
  redisUrl = (await freshRedis()).url;
  simulator = await startSimulator();
  rows = new Rows(database.url);
  dataSource = await new DataSource(dataSourceOptions(database.url, 4)).initialize();
  const connections = new Database(dataSource);
  lanes = new LaneRepository(connections);
  events = new EventRepository(connections);
  purges = new TenantPurgeRepository(connections);
  api = await start('api');
  otherApi = await start('api');
});
afterEach(async () => {
  for (const scheduler of running.splice(0)) await scheduler.stop();
  await rows.query('delete from tenant');
  await rows.query('truncate event, delivery, delivery_attempt, idempotency_key, idempotency_key_old');
});
afterAll(async () => {
  await api.stop();
  await otherApi.stop();
  await simulator.close();
  await rows.end();
  await dataSource.destroy();
  await database.drop();
});

const start = (role: string) =>
  startPosthorn({
    env: { ROLE: role, REDIS_URL: redisUrl, SWEEP_INTERVAL_SECONDS: '0.1' },
    databaseUrl: database.url,
  });

async function startScheduler(): Promise<Posthorn> {
  const scheduler = await start('scheduler');
  running.push(scheduler);
  return scheduler;
}

const remove = (id: string) => api.admin.request('DELETE', `/tenants/${id}`);
const count = async (from: string) =>
  (await rows.query<{ count: number }>(`select count(*)::int from ${from}`))[0]!.count;

/** The audit log is the operator's, and has a time of its own. */
const owned = async (id: string) => (await stateOf(rows, id)).filter((row) => !row.startsWith('audit_log '));

/** What only whoever owns it changes: dead letters are counted every minute. */
const uncounted = async (id: string) =>
  (await owned(id)).filter((row) => !/^(delivery_stat|delivery_stat_delta|dead_letter_count) /.test(row));

/** What is left, but the tenant itself. */
const leftOf = async (id: string) => (await owned(id)).filter((row) => !row.startsWith('tenant '));

const untilEmpty = (id: string) =>
  waitFor(async () => (await leftOf(id)).length === 0, { what: 'all that it owned to be gone' });

/** As if its deletion had been asked for so long ago. */
const age = (id: string, interval = '1 day') =>
  rows.query(`update tenant set deletion_requested_at = now() - $2::interval where id = $1`, [id, interval]);

const untilGone = (id: string) =>
  waitFor(async () => (await api.admin.request('GET', `/tenants/${id}`)).status === 404, {
    what: 'the tenant to be gone',
  });

/** A tenant with a row in every state of every table, of today and of the day before yesterday. */
async function tenantWithEverything(): Promise<TestTenant> {
  const tenant = await api.tenant();
  const subscription = await rows.subscription(tenant.id);
  await rows.query('insert into lane (subscription_id, next_slot_at) values ($1, now())', [subscription]);
  for (const at of [Date.now(), Date.now() - 2 * DAY]) {
    const event = await rows.event(tenant.id, { at, key: `key at ${at}`, deliveryCount: 6 });
    for (const status of ['pending', 'retrying', 'delivering', 'delivered', 'dead', 'cancelled']) {
      const delivery = { status, attempts: 1, dueAt: Date.now() + DAY, leasedUntil: Date.now() - 1 };
      await rows.delivery(tenant.id, event, subscription, delivery);
    }
    await rows.event(tenant.id, { at });
  }
  await rows.query(
    `insert into idempotency_key_old select tenant_id, 'old ' || key, event_id, fingerprint from idempotency_key
     where tenant_id = $1`,
    [tenant.id],
  );
  await rows.query(
    `with waiting as (insert into delivery_stat_delta (tenant_id, subscription_id, minute) values ($1, $2, now()))
     insert into delivery_stat select $1, $2, 'hour', to_timestamp(n), 0, 0, 0, 0, 0, '{}', 0
     from generate_series(1, ${STEP + 1}) as n`,
    [tenant.id, subscription],
  );
  return tenant;
}

describe('a deleted tenant', () => {
  it('goes with everything it owned, itself at last, and nobody else loses a row', async () => {
    const tenant = await tenantWithEverything();
    const neighbour = await tenantWithEverything();
    const before = {
      neighbour: fingerprint(await uncounted(neighbour.id)),
      attempts: await count('delivery_attempt'),
    };
    expect((await client(otherApi.url, tenant.apiKey).request('GET', '/subscriptions')).status).toBe(200);

    expect(await remove(tenant.id)).toMatchObject({ status: 202, body: { id: tenant.id } });
    expect((await tenant.request('GET', '/subscriptions')).status).toBe(401);
    const since = performance.now();
    await waitFor(
      async () => (await client(otherApi.url, tenant.apiKey).request('GET', '/subscriptions')).status === 401,
      { what: 'the other process to know its key no more' },
    );
    // It was told: by itself it would have remembered the key for a minute.
    expect(performance.now() - since).toBeLessThan(30_000);
    expect((await api.admin.request('PATCH', `/tenants/${tenant.id}`, { name: 'back' })).status).toBe(409);

    await startScheduler();
    await untilEmpty(tenant.id);
    expect((await api.admin.request('GET', `/tenants/${tenant.id}`)).body.deletion_requested_at).toMatch(
      /Z$/,
    );

    await age(tenant.id);
    await untilGone(tenant.id);
    expect(await owned(tenant.id)).toEqual([]);
    expect(fingerprint(await uncounted(neighbour.id))).toEqual(before.neighbour);
    expect(await count('delivery_attempt')).toBe(before.attempts / 2);
  });

  it('is purged in steps; a process that stops ends its step, and the next one goes on', async () => {
    const [tenant, neighbour] = [await api.tenant(), await api.tenant()];
    const [lane, otherLane] = [await rows.subscription(tenant.id), await rows.subscription(neighbour.id)];
    await rows.many(tenant.id, lane, 10 * STEP);
    await rows.many(neighbour.id, otherLane, 100);
    const before = fingerprint(await uncounted(neighbour.id));
    await remove(tenant.id);
    await age(tenant.id);

    const left = () => count(`delivery where tenant_id = '${tenant.id}'`);
    const obstacle = await lockDelivery(tenant.id, 4.5 * STEP);
    const scheduler = await startScheduler();
    await waitFor(async () => (await left()) === 5 * STEP, { what: 'half of it to be gone' });
    const stopped = scheduler.stop();
    running.splice(0);
    const registry = scheduler.app.get(SchedulerRegistry, { strict: false });
    await waitFor(() => !registry.doesExist('interval', 'tenant-removal'), { what: 'the stop to begin' });
    await obstacle.end();
    await stopped;
    expect(await left()).toBe(4 * STEP);

    await startScheduler();
    await untilGone(tenant.id);
    expect(await owned(tenant.id)).toEqual([]);
    expect(await count('delivery_attempt')).toBe(100);
    expect(fingerprint(await uncounted(neighbour.id))).toEqual(before);
  });

  it('waits for what a worker has in hand, whose late result leaves nothing behind', async () => {
    const tenant = await api.tenant();
    const subscription = await rows.subscription(tenant.id);
    const event = await rows.event(tenant.id, { deliveryCount: 2 });
    await rows.delivery(tenant.id, event, subscription, { dueAt: Date.now() - 1 });
    const [claimed] = await lanes.claimDue([{ subscriptionId: subscription, quota: 1 }], 60);
    await rows.delivery(tenant.id, event, subscription, { status: 'delivered', attempts: 1 });
    await remove(tenant.id);
    await age(tenant.id);

    await startScheduler();
    await waitFor(async () => (await count('delivery')) === 1, { what: 'the other one to be gone' });
    await untilPassedOver();
    expect((await leftOf(tenant.id)).map((row) => row.split(' ')[0])).toEqual(['delivery', 'event']);

    await lanes.record([delivered(claimed!)]);
    await untilGone(tenant.id);
    expect(await owned(tenant.id)).toEqual([]);
    expect(await count('delivery_attempt')).toBe(0);
  });

  it('is attempted nothing of any more, also while workers come upon what is open', async () => {
    const tenant = await api.tenant();
    const targetUrl = `${simulator.url}/ok/deleted`;
    await rows.many(tenant.id, await rows.subscription(tenant.id, { targetUrl }), 4 * STEP);
    await remove(tenant.id);
    await age(tenant.id);

    running.push(await start('worker'));
    await startScheduler();
    await untilGone(tenant.id);
    expect(await owned(tenant.id)).toEqual([]);
    expect(await count('delivery_attempt')).toBe(0);
    expect(simulator.countOn('/ok/deleted')).toBe(0);
  });

  it('loses also what arrives after it was purged', async () => {
    const tenant = await tenantWithEverything();
    await remove(tenant.id);
    await startScheduler();
    await untilEmpty(tenant.id);

    // Processes that have not heard of it yet.
    await events.insert([newEvent(tenant.id, uuidV7(Date.now()))]);
    await rows.subscription(tenant.id);
    await waitFor(async () => (await count('event')) === 0, { what: 'the event to be gone' });
    await age(tenant.id);
    await untilGone(tenant.id);
    expect(await owned(tenant.id)).toEqual([]);
  });

  it('keeps no other from going when it cannot be purged', async () => {
    const [stuck, other] = [await api.tenant(), await api.tenant()];
    const event = await rows.event(stuck.id);
    await rows.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;
       create trigger refuse before delete on event for each row when (old.id = '${event}') execute function refuse()`,
    );
    try {
      for (const { id } of [stuck, other]) {
        await remove(id);
        await age(id);
      }
      await startScheduler();
      await untilGone(other.id);
      expect((await api.admin.request('GET', `/tenants/${stuck.id}`)).status).toBe(200);
    } finally {
      await rows.query('drop function refuse cascade');
    }
    await untilGone(stuck.id);
  });
});

describe('the row of a tenant', () => {
  let tenantId: string;
  beforeEach(async () => {
    tenantId = await rows.tenant();
  });

  it('stays while nobody asked for its deletion', async () => {
    expect(await purges.deleteTenant(tenantId, 0)).toBe(false);
    expect(await purges.doomed()).toEqual([]);
  });

  it('stays until its time has come', async () => {
    await age(tenantId, '60 s');
    expect(await purges.doomed()).toEqual([tenantId]);
    expect(await purges.deleteTenant(tenantId, 90)).toBe(false);
    expect(await purges.deleteTenant(tenantId, 60)).toBe(true);
    expect(await purges.deleteTenant(tenantId, 60)).toBe(false);
  });

  it.each([
    ['an event', () => rows.event(tenantId)],
    ['a delivery', () => rows.delivery(tenantId, uuidV7(Date.now()), uuidV7(Date.now()))],
    ['a key', () => insertKey('idempotency_key')],
    ['a key of the old generation', () => insertKey('idempotency_key_old')],
  ])('stays while there is %s', async (_, make) => {
    await age(tenantId);
    await make();
    expect(await purges.deleteTenant(tenantId, 0)).toBe(false);
  });

  it('takes along what only refers to it', async () => {
    await age(tenantId);
    await rows.subscription(tenantId);
    expect(await purges.deleteTenant(tenantId, 0)).toBe(true);
    expect(await owned(tenantId)).toEqual([]);
  });

  const insertKey = (table: string) =>
    rows.query(`insert into ${table} (tenant_id, key, event_id, fingerprint) values ($1, '', $2, '')`, [
      tenantId,
      uuidV7(Date.now()),
    ]);
});

describe('one step', () => {
  let tenantId: string;
  beforeEach(async () => {
    tenantId = await rows.tenant();
  });

  it('looks at nobody else’s rows where the statistics still know of many of its own', async () => {
    await rows.many(tenantId, uuidV7(Date.now()), 10_000);
    await rows.many(await rows.tenant(), uuidV7(Date.now()), 500);
    await rows.query('analyze delivery, event');
    await rows.query('delete from delivery where tenant_id = $1', [tenantId]);
    await rows.query('delete from event where tenant_id = $1', [tenantId]);
    const explained = await openExplained(database.url, 'auto');
    try {
      const watched = new TenantPurgeRepository(new Database(explained.source));
      await watched.deleteDeliveries(tenantId, 'everything', null);
      await watched.deleteEvents(tenantId, 'everything', null);
      const scans = (await explained.executed()).flatMap((one) => one.scans);
      expect([...new Set(scans.map(({ index }) => index))]).toEqual([
        'delivery_by_tenant',
        'event_by_tenant',
      ]);
    } finally {
      await explained.close();
    }
  });

  it('deletes no more attempts than some', async () => {
    await rows.many(tenantId, uuidV7(Date.now()), 300);
    await rows.query('update delivery set attempt_count = 100');
    const first = await purges.deleteDeliveries(tenantId, 'everything', null);
    expect(first).toMatchObject({ count: 198, attempts: 198, next: expect.any(String) });
    expect(await purges.deleteDeliveries(tenantId, 'everything', first.next)).toMatchObject({
      count: 102,
      next: null,
    });
  });

  it('deletes no more payload than some, and one event at least', async () => {
    for (let at = 1; at <= 4; at++) await rows.event(tenantId, { at });
    await rows.query(
      `update event set payload = convert_to(repeat('x', case when id = (select id from event order by id limit 1) then 70e6 else 30e6 end::int), 'UTF8')`,
    );
    const counts = [];
    let next: string | null = null;
    do {
      const step = await purges.deleteEvents(tenantId, 'everything', next);
      counts.push(step.count);
      next = step.next;
    } while (next !== null);
    expect(counts).toEqual([2, 1, 1]);
  });
});

/** Until the tenants whose deletion was asked for before have all been looked at. */
async function untilPassedOver(): Promise<void> {
  const { id } = await api.tenant();
  await remove(id);
  await age(id, '1 hour');
  await untilGone(id);
}

const newEvent = (tenantId: string, subscriptionId: string): NewEvent => {
  const id = uuidV7(Date.now());
  return {
    id,
    tenantId,
    eventId: id,
    eventType: 'order.paid',
    idempotencyKey: id,
    fingerprint: Buffer.alloc(32),
    payload: Buffer.from('{}'),
    contentType: null,
    sourceId: null,
    requestId: null,
    receivedAt: new Date(),
    wantedBy: [{ id: subscriptionId }],
  };
};

/** Whoever wants this delivery, the so-many-th oldest, has to wait. */
async function lockDelivery(tenantId: string, offset: number): Promise<pg.Client> {
  const other = new pg.Client({ connectionString: database.url });
  await other.connect();
  await other.query('begin');
  await other.query(
    `select id from delivery where tenant_id = $1 and id =
       (select id from delivery where tenant_id = $1 order by id offset $2 limit 1) for update`,
    [tenantId, offset],
  );
  return other;
}
