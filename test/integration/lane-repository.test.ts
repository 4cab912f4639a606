import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/config.js';
import { ResultWriter } from '../../src/delivery/result-writer.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { createLogger } from '../../src/observability/logger.js';
import { Database } from '../../src/persistence/database.js';
import { createDataSource } from '../../src/persistence/data-source.js';
import { EventRepository } from '../../src/persistence/repositories/event.repository.js';
import { LaneRepository } from '../../src/persistence/repositories/lane.repository.js';
import { createDatabase } from '../support/database.js';
import { delivered } from '../support/results.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

let lanes: LaneRepository;
let events: EventRepository;
let database: Database;
let rows: Rows;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  const fresh = await createDatabase();
  const dataSource = await createDataSource(fresh.url).initialize();
  rows = new Rows(fresh.url);
  opened.push(
    { close: () => fresh.drop() },
    { close: () => dataSource.destroy() },
    { close: () => rows.end() },
  );
  database = new Database(dataSource);
  lanes = new LaneRepository(database);
  events = new EventRepository(database);
});
afterAll(async () => {
  for (const one of opened.reverse()) await one.close();
});

async function insert(payloads: Buffer[], subscriptionId = uuidV7(Date.now())): Promise<string> {
  const nowMs = Date.now();
  await events.insert(
    payloads.map((payload) => {
      const id = uuidV7(nowMs);
      return {
        id,
        tenantId: uuidV7(nowMs),
        eventId: id,
        eventType: 'a',
        idempotencyKey: null,
        fingerprint: Buffer.alloc(32),
        payload,
        contentType: null,
        sourceId: null,
        requestId: 'r',
        receivedAt: new Date(nowMs),
        wantedBy: [{ id: subscriptionId }],
      };
    }),
  );
  return subscriptionId;
}

const claim = (subscriptionId: string, quota: number, leaseSeconds = 60) =>
  lanes.claimDue([{ subscriptionId, quota }], leaseSeconds);

it('hands over payloads as bytes of their own, whatever they are', async () => {
  const payloads = Array.from({ length: 50 }, (_, index) => randomBytes(index * 997));
  const subscriptionId = await insert(payloads);
  const claimed = await claim(subscriptionId, 100);
  // What the connection receives next must not shine through.
  await database.run('select repeat($1, 1000000)', ['x']);
  const digests = (buffers: Buffer[]) =>
    buffers.map((bytes) => createHash('sha256').update(bytes).digest('hex')).toSorted();
  const large = claimed.filter(({ payload }) => payload === null);
  const fetched = (await lanes.payloads(large.map(({ eventId }) => eventId))) as Buffer[];
  const handedOver = claimed.flatMap(({ payload }) => payload ?? []);
  expect(fetched.length).toBeGreaterThan(10);
  expect(digests([...handedOver, ...fetched])).toEqual(digests(payloads));
});

it('claims no more than the quota, and nothing that is leased', async () => {
  const subscriptionId = await insert(Array.from({ length: 5 }, () => Buffer.from('1')));
  const first = await claim(subscriptionId, 3);
  const second = await claim(subscriptionId, 3);
  expect([first.length, second.length, (await claim(subscriptionId, 3)).length]).toEqual([3, 2, 0]);
  expect(new Set([...first, ...second].map(({ id }) => id)).size).toBe(5);
  expect(first[0]).toMatchObject({
    attemptNumber: 1,
    budgetAttempt: 1,
    isInterrupted: false,
    requestId: 'r',
  });
});

it('two workers that claim at the same time share the lane without overlap', async () => {
  const subscriptionId = await insert(Array.from({ length: 200 }, () => Buffer.from('1')));
  const claims = await Promise.all(Array.from({ length: 8 }, () => claim(subscriptionId, 25)));
  const ids = claims.flat().map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
});

it('claims again when the lease has run out, and lets the late result of the first claim change nothing', async () => {
  const subscriptionId = await insert([Buffer.from('1')]);
  const [late] = await claim(subscriptionId, 1, 0);
  const [current] = await claim(subscriptionId, 1);
  expect(current).toMatchObject({ id: late!.id, attemptNumber: 2, isInterrupted: true });
  expect(await lanes.record([delivered(late!)])).toEqual(new Set());
  const [row] = await database.run<{ status: string }>('select status from delivery where id = $1', [
    late!.id,
  ]);
  expect(row?.status).toBe('delivering');
  expect(await lanes.record([delivered(current!)])).toEqual(new Set([late!.id]));
  const attempts = await database.run('select attempt_number from delivery_attempt where delivery_id = $1', [
    late!.id,
  ]);
  expect(attempts).toHaveLength(2);
});

it.each([
  ['an interruption gives way to the answer that came late', [0, null], [5, 200], [5, 200]],
  ['an answer stays when it is taken for interrupted', [5, 200], [0, null], [5, 200]],
  ['so does a timeout', [1_000, null], [0, null], [1_000, null]],
  ['and what failed at once', [0, null], [0, null], [0, null]],
] as const)('%s', async (_, first, second, kept) => {
  const [claimed] = await claim(await insert([Buffer.from('1')]), 1);
  for (const [index, [durationMs, statusCode]] of [first, second].entries()) {
    const ending = { success: statusCode === 200, status: 'retrying', error: `entry ${index}` } as const;
    await lanes.record([delivered(claimed!, { durationMs, statusCode, ...ending, retryInMs: 1 })]);
  }
  const [row] = await database.run<{ duration_ms: number; status_code: number | null; error: string }>(
    'select duration_ms, status_code, error from delivery_attempt where delivery_id = $1',
    [claimed!.id],
  );
  const isFirst = first[0] === kept[0] && first[1] === kept[1];
  expect(row).toEqual({ duration_ms: kept[0], status_code: kept[1], error: `entry ${isFirst ? 0 : 1}` });
});

it('a released delivery is as if it had never been claimed', async () => {
  const subscriptionId = await insert([Buffer.from('1')]);
  const claimed = await claim(subscriptionId, 1);
  await lanes.release(claimed);
  const [row] = await database.run('select status, attempt_count, leased_until from delivery where id = $1', [
    claimed[0]!.id,
  ]);
  expect(row).toEqual({ status: 'pending', attempt_count: 0, leased_until: null });
});

it('finds the lanes that are due with nobody at work, each once', async () => {
  const due = [await insert([Buffer.from('1'), Buffer.from('2')]), await insert([Buffer.from('3')])];
  const busy = await insert([Buffer.from('4')]);
  await claim(busy, 1);
  const found = await lanes.dueLanes();
  expect(found).toEqual(expect.arrayContaining(due));
  expect(found).not.toContain(busy);
  expect(new Set(found).size).toBe(found.length);
});

it('leaves the lanes of inactive subscriptions and of suspended tenants alone, and not those of deleted ones', async () => {
  const [active, suspended] = [await rows.tenant(), await rows.tenant()];
  await rows.query('update tenant set suspended = true where id = $1', [suspended]);
  const lane = {
    active: await insert([Buffer.from('1')], await rows.subscription(active)),
    inactive: await insert([Buffer.from('2')], await rows.subscription(active, { isActive: false })),
    suspended: await insert([Buffer.from('3')], await rows.subscription(suspended)),
    deleted: await insert([Buffer.from('4')]),
  };
  const found = new Set(await lanes.dueLanes());
  expect(Object.entries(lane).flatMap(([name, id]) => (found.has(id) ? [name] : []))).toEqual([
    'active',
    'deleted',
  ]);
  await rows.query('update tenant set suspended = false where id = $1', [suspended]);
  expect(await lanes.dueLanes()).toContain(lane.suspended);
});

it('plans the claim once a connection, not at every call', async () => {
  const own = await createDataSource((await createDatabaseUrl()).url).initialize();
  try {
    const repository = new LaneRepository(new Database(own));
    for (let call = 0; call < 12; call++) {
      const quotas = Array.from({ length: (call % 4) + 1 }, () => ({ subscriptionId: uuidV7(1), quota: 10 }));
      await repository.claimDue(quotas, 60);
    }
    const plans = await new Database(own).run<{ generic_plans: string; custom_plans: string }>(
      `select generic_plans, custom_plans from pg_prepared_statements where name = 'claim-due'`,
    );
    expect(Number(plans[0]?.generic_plans)).toBeGreaterThan(0);
  } finally {
    await own.destroy();
  }
});

async function createDatabaseUrl() {
  const fresh = await createDatabase();
  opened.unshift({ close: () => fresh.drop() });
  return fresh;
}

it('one result that Postgres refuses does not spoil the others of its batch', async () => {
  const subscriptionId = await insert([Buffer.from('1'), Buffer.from('2'), Buffer.from('3')]);
  const claimed = await claim(subscriptionId, 3);
  const writer = new ResultWriter(lanes, loadConfig({}), createLogger('silent', 'test'));
  const result = (index: number, responseHeaders: string | null) =>
    delivered(claimed[index]!, { responseHeaders });
  const recorded = await Promise.all([
    writer.record(result(0, '{}')),
    writer.record(result(1, 'not JSON')),
    // The same attempt twice in one statement, as after an outage that outlasted a lease.
    writer.record(result(2, '{}')),
    writer.record(result(2, '{}')),
  ]);
  expect(recorded).toEqual([true, true, true, false]);
});

it('gives out the slots of a rate limit one after the other, none twice and none left out', async () => {
  const spacingMs = 100;
  const subscriptionId = await insert(Array.from({ length: 6 }, () => Buffer.from('1')));
  const tenantId = await rows.tenant();
  await database.run(
    `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
     values ($1, $2, 'http://127.0.0.1:60009/', '{}', true, '', '{}', '{}')`,
    [subscriptionId, tenantId],
  );
  const claimThree = async (): Promise<number[]> => {
    const rules = { spacingMs, maxConcurrency: null };
    const { deliveries } = (await lanes.claimPaced(subscriptionId, 3, rules, 60))!;
    return deliveries.map(({ sendAfterMs = 0 }) => sendAfterMs);
  };
  const fromMs = performance.now();
  const [first, second] = [await claimThree(), await claimThree()];
  const passedMs = performance.now() - fromMs;
  expect(first).toEqual([0, 100, 200]);
  expect(second[0]).toBeLessThanOrEqual(300);
  expect(second[0]).toBeGreaterThanOrEqual(Math.max(0, 300 - passedMs));
  expect(second.map((afterMs) => afterMs - second[0]!)).toEqual([0, 100, 200]);
});

it('claims in a limited lane while its subscription is being deleted, so that neither waits for the other', async () => {
  const subscriptionId = await insert([Buffer.from('1'), Buffer.from('2')]);
  const [tenantId, rules] = [uuidV7(Date.now()), { spacingMs: 0.001, maxConcurrency: null }];
  await database.run("insert into tenant (id, name) values ($1, 'limited')", [tenantId]);
  await database.run(
    `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
     values ($1, $2, 'http://127.0.0.1:60009/', '{}', true, '', '{}', '{}')`,
    [subscriptionId, tenantId],
  );
  // The lane's row is there from now on.
  expect((await lanes.claimPaced(subscriptionId, 1, rules, 60))!.deliveries).toHaveLength(1);
  await database.transaction(async (deleting) => {
    await deleting.run('select from subscription where id = $1 for update', [subscriptionId]);
    expect((await lanes.claimPaced(subscriptionId, 1, rules, 60))!.deliveries).toHaveLength(1);
    await deleting.run('delete from subscription where id = $1', [subscriptionId]);
  });
});

it('says that the subscription of a limited lane is gone, also when it goes during the claim', async () => {
  const [gone, going] = await Promise.all([insert([Buffer.from('1')]), insert([Buffer.from('1')])]);
  const [tenantId, rules] = [uuidV7(Date.now()), { spacingMs: null, maxConcurrency: 3 }];
  await database.run("insert into tenant (id, name) values ($1, 'limited')", [tenantId]);
  await database.run(
    `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
     values ($1, $2, 'http://127.0.0.1:60009/', '{}', true, '', '{}', '{}')`,
    [going, tenantId],
  );
  expect(await lanes.claimPaced(gone, 1, rules, 60)).toBeNull();
  const claim = await database.transaction(async (deleting) => {
    await deleting.run('delete from subscription where id = $1', [going]);
    const claiming = lanes.claimPaced(going, 1, rules, 60);
    await waitFor(
      async () => {
        const [waiting] = await deleting.run<{ count: number }>(
          'select count(*)::int from pg_locks where not granted and transactionid = pg_current_xact_id()::xid',
        );
        return waiting!.count === 1;
      },
      { what: 'the claim to wait for the deletion' },
    );
    return { claiming };
  });
  expect(await claim.claiming).toBeNull();
});
