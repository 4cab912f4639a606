import fc from 'fast-check';
import { DataSource } from 'typeorm';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CleanupService } from '../../src/cleanup/cleanup.service.js';
import { TenantPurge } from '../../src/cleanup/tenant-purge.js';
import { loadConfig } from '../../src/config/config.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { createLogger } from '../../src/observability/logger.js';
import { dataSourceOptions } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import { HeartbeatRepository } from '../../src/persistence/repositories/heartbeat.repository.js';
import { PartitionRepository } from '../../src/persistence/repositories/partition.repository.js';
import { PurgeRepository } from '../../src/persistence/repositories/purge.repository.js';
import { TenantPurgeRepository } from '../../src/persistence/repositories/tenant-purge.repository.js';
import { createDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { Rows } from '../support/rows.js';
import { stateOf } from '../support/tenant-state.js';

/** A tenant's own retention, beside tenants without one; the service's is 72 hours. */

const HOUR = 3_600_000;
const NOW = Date.now();
const OWN_HOURS = 6;
const CUT_OFF = NOW - OWN_HOURS * HOUR;

let database: Awaited<ReturnType<typeof createDatabase>>;
let dataSource: DataSource;
let rows: Rows;
let cleanup: CleanupService;
/** The first one has a retention of its own. */
let tenant: string;
let neighbour: string;
let lane: string;
let otherLane: string;

beforeEach(async () => {
  database = await createDatabase();
  dataSource = await new DataSource(dataSourceOptions(database.url, 4)).initialize();
  rows = new Rows(database.url);
  const connections = new Database(dataSource);
  const config = loadConfig({ DATABASE_URL: database.url, ENCRYPTION_KEY });
  const logger = createLogger('silent', 'scheduler');
  cleanup = new CleanupService(
    new PartitionRepository(connections),
    new PurgeRepository(connections),
    new TenantPurge(new TenantPurgeRepository(connections), logger),
    new HeartbeatRepository(connections),
    config,
    logger,
  );
  [tenant, neighbour] = [await rows.tenant(), await rows.tenant()];
  [lane, otherLane] = [await rows.subscription(tenant), await rows.subscription(neighbour)];
  await keepFor(tenant, OWN_HOURS);
  // The keys of this test are not of a generation that has had its time.
  await rows.query(`update maintenance_run set started_at = now() where task = 'key-generation'`);
});
afterEach(async () => {
  await rows.end();
  await dataSource.destroy();
  await database.drop();
});

const keepFor = (id: string, hours: number) =>
  rows.query('update tenant set retention_hours = $2 where id = $1', [id, hours]);

const ids = async (table: string) =>
  (await rows.query<{ id: string }>(`select id from ${table} order by id`)).map(({ id }) => id);

it('is the end of what ended before it, and of nothing that is due, dead or somebody else’s', async () => {
  const statuses = ['pending', 'retrying', 'delivering', 'delivered', 'dead', 'cancelled'];
  const around = (time: number) => fc.constantFrom(time - HOUR, time - 1, time, time + 1);
  const delivery = fc.record({
    status: fc.constantFrom(...statuses),
    at: around(CUT_OFF),
    endedAt: around(CUT_OFF),
    isOwn: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(delivery, { minLength: 1, maxLength: 25 }), async (wanted) => {
      await rows.query('truncate event, delivery, delivery_attempt, idempotency_key');
      const kept = { delivery: [] as string[], event: [] as string[] };
      for (const [index, { isOwn, ...options }] of wanted.entries()) {
        const [owner, to] = isOwn ? [tenant, lane] : [neighbour, otherLane];
        const event = await rows.event(owner, { at: options.at, key: `key ${index}` });
        const id = await rows.delivery(owner, event, to, { ...options, attempts: 1 });
        const goes =
          isOwn &&
          options.at < CUT_OFF &&
          ['delivered', 'cancelled'].includes(options.status) &&
          options.endedAt < CUT_OFF;
        if (!goes) {
          kept.delivery.push(id);
          kept.event.push(event);
        }
      }
      const gone = wanted.length - kept.event.length;

      const counts = await cleanup.run(NOW);

      expect(counts).toMatchObject({ deliveries: gone, attempts: gone, events: gone, keys: gone });
      expect(await ids('delivery')).toEqual(kept.delivery.sort());
      expect(await ids('event')).toEqual(kept.event.sort());
      const attempted = await rows.query<{ id: string }>('select delivery_id as id from delivery_attempt');
      expect(attempted.map(({ id }) => id).sort()).toEqual(kept.delivery);
      const keyed = await rows.query<{ id: string }>('select event_id as id from idempotency_key');
      expect(keyed.map(({ id }) => id).sort()).toEqual(kept.event);
    }),
    { numRuns: 15 },
  );
});

it('keeps an event as long as one of its deliveries', async () => {
  const event = await rows.event(tenant, { at: CUT_OFF - 2 });
  const done = await rows.delivery(tenant, event, lane, { status: 'delivered', attempts: 1 });
  const due = await rows.delivery(tenant, event, lane, { status: 'retrying', attempts: 1 });
  await cleanup.run(NOW);
  expect(await ids('delivery')).toEqual([due]);
  expect(await ids('event')).toEqual([event]);
  expect(await rows.query('select delivery_id from delivery_attempt')).toEqual([{ delivery_id: due }]);

  await rows.query(
    `update delivery set status = 'delivered', next_attempt_at = null, completed_at = to_timestamp(0)`,
  );
  await cleanup.run(NOW);
  expect(await ids('event')).toEqual([]);
  expect(done).not.toBe(due);
});

it('takes events that nobody wanted, and frees their keys in both generations', async () => {
  await rows.event(tenant, { at: CUT_OFF - 1, key: 'present' });
  const old = await rows.event(tenant, { at: CUT_OFF - 1, key: 'old' });
  await rows.query(
    `with moved as (delete from idempotency_key where key = 'old' returning *)
     insert into idempotency_key_old select * from moved`,
  );
  const young = await rows.event(tenant, { at: CUT_OFF, key: 'young' });
  // Taken anew by the young one, after the retention of the service.
  const again = await rows.event(tenant, { at: CUT_OFF - 3 });
  await rows.query(`update event set idempotency_key = 'young' where id = $1`, [again]);

  expect(await cleanup.run(NOW)).toMatchObject({ events: 3, keys: 2 });
  expect(await ids('event')).toEqual([young]);
  expect(await rows.query('select key, event_id from idempotency_key')).toEqual([
    { key: 'young', event_id: young },
  ]);
  expect(await rows.query('select 1 from idempotency_key_old where event_id = $1', [old])).toEqual([]);
});

it('goes through many that stay to many that do not', async () => {
  const make = (count: number, at: number, status: string) =>
    rows.query(
      `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, completed_at, created_at,
                             dead_at, dead_reason)
       select id, $2, id, $3, 'order.paid', $4::text, $5, $5, case when $4 = 'dead' then now() end, $4
       from unnest($1::uuid[]) as t(id)`,
      [Array.from({ length: count }, () => uuidV7(at)), tenant, lane, status, new Date(at)],
    );
  await make(4_500, CUT_OFF - 1, 'dead');
  await make(4_500, CUT_OFF - 2, 'delivered');
  await make(300, CUT_OFF - 3, 'dead');
  expect(await cleanup.run(NOW)).toMatchObject({ deliveries: 4_500 });
  expect(await rows.query('select distinct status from delivery')).toEqual([{ status: 'dead' }]);
});

it.each([
  ['of the service, when that is shorter by now', 100],
  ['of the service, when it is the same', 72],
])('is that %s', async (_, hours) => {
  await keepFor(tenant, hours);
  for (const at of [NOW - 72 * HOUR + 1, NOW - 72 * HOUR - 1]) {
    const event = await rows.event(tenant, { at });
    await rows.delivery(tenant, event, lane, { status: 'delivered', endedAt: at });
  }
  expect(await cleanup.run(NOW)).toMatchObject({ deliveries: 1, events: 1 });
});

it('of one tenant that cannot be purged keeps no other from it', async () => {
  await keepFor(neighbour, OWN_HOURS);
  const stuck = await rows.event(tenant, { at: CUT_OFF - 1 });
  await rows.event(neighbour, { at: CUT_OFF - 1 });
  await rows.query(
    `create function refuse() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;
     create trigger refuse before delete on event for each row when (old.id = '${stuck}') execute function refuse()`,
  );
  const before = await stateOf(rows, tenant);
  expect(await cleanup.run(NOW)).toMatchObject({ events: 1 });
  expect(await stateOf(rows, tenant)).toEqual(before);
});
