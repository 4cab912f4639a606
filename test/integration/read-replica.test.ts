import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { type ReplicatedPostgres, startReplicatedPostgres } from '../support/postgres-replica.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

let postgres: ReplicatedPostgres;
let posthorn: Posthorn;
let tenant: TestTenant;
let rows: Rows;
let replicaRows: Rows;
let subscription: string;

beforeAll(async () => {
  postgres = await startReplicatedPostgres();
  // No worker: deliveries stay as the test made them.
  posthorn = await startPosthorn({
    env: { ROLE: 'api', REDIS_URL: (await freshRedis()).url, DATABASE_READ_URL: postgres.replicaUrl },
    databaseUrl: postgres.primaryUrl,
  });
  rows = new Rows(postgres.primaryUrl);
  replicaRows = new Rows(postgres.replicaUrl);
  tenant = await posthorn.tenant();
  const { body } = await tenant.request('POST', '/subscriptions', { target_url: 'http://127.0.0.1:60009/' });
  subscription = body.id;
});
afterAll(async () => {
  await rows.end();
  await replicaRows.end();
  await posthorn.stop();
  await postgres.stop();
});

const get = (path: string) => tenant.request('GET', path);
const ids = (body: { data: { id: string }[] }): string[] => body.data.map(({ id }) => id);

const health = async (): Promise<{ status: string; lag_seconds?: number; message?: string }> =>
  (await posthorn.anonymous.request('GET', '/health')).body.details.postgres_replica;

const isUsed = () =>
  waitFor(async () => (await health()).status === 'up', {
    what: 'the replica to be used',
  });

async function ingest(key: string): Promise<string> {
  const { status, body } = await tenant.request('POST', '/events', {
    event_type: 'order.paid',
    payload: { key },
    idempotency_key: key,
  });
  expect(status).toBe(202);
  return body.id;
}

/** Deliveries of an event, as the list shows them. */
const deliveriesOf = async (event: string) => (await get(`/deliveries?event_id=${event}`)).body.data as any[];

/** By the account of the primary itself. */
async function deliveryOf(event: string): Promise<string> {
  const [row] = await rows.query<{ id: string }>('select id from delivery where event_id = $1', [event]);
  return row!.id;
}

describe('with a replica', () => {
  afterEach(async () => {
    await postgres.resumeReplay();
    await isUsed();
  });

  it('reads lists from it', async () => {
    await isUsed();
    const before = await ingest('before');
    await waitFor(async () => ids((await get('/events')).body).includes(before), { what: 'the replica' });
    await postgres.pauseReplay();
    const after = await ingest('after');
    expect(ids((await get('/events')).body)).toContain(before);
    expect(ids((await get('/events')).body)).not.toContain(after);
    expect(await deliveriesOf(after)).toEqual([]);
    await postgres.resumeReplay();
    await waitFor(async () => ids((await get('/events')).body).includes(after), { what: 'the replica' });
    await waitFor(async () => (await deliveriesOf(after)).length === 1, { what: 'the replica' });
  });

  it('finds what it does not have yet on the primary', async () => {
    await isUsed();
    await postgres.pauseReplay();
    const event = await ingest('too-new');
    const delivery = await deliveryOf(event);
    expect((await get(`/events/${event}`)).body.payload).toEqual({ key: 'too-new' });
    expect((await get(`/events/${event}/status`)).body.deliveries.data).toHaveLength(1);
    expect(ids((await get('/events?idempotency_key=too-new')).body)).toEqual([event]);
    expect((await get(`/status/delivery/${delivery}`)).body.id).toBe(delivery);
    const dead = await rows.delivery(tenant.id, event, subscription, { status: 'dead' });
    expect((await get(`/dlq/${dead}`)).body.id).toBe(dead);
  });

  it('decides on the primary alone', async () => {
    await isUsed();
    await postgres.pauseReplay();
    const event = await ingest('decided');
    const delivery = await deliveryOf(event);
    // A repetition, a new subscription and key, a cancel and its repetition: none of it is on the replica.
    const again = { event_type: 'order.paid', payload: { key: 'decided' }, idempotency_key: 'decided' };
    expect((await tenant.request('POST', '/events', again)).status).toBe(200);
    const other = await posthorn.tenant();
    const made = await other.request('POST', '/subscriptions', { target_url: 'http://127.0.0.1:60009/' });
    expect((await other.request('GET', `/subscriptions/${made.body.id}`)).status).toBe(200);
    expect((await other.request('GET', `/status/subscription/${made.body.id}`)).status).toBe(200);
    expect((await tenant.request('POST', `/deliveries/${delivery}/cancel`)).status).toBe(200);
    expect((await tenant.request('POST', `/deliveries/${delivery}/cancel`)).status).toBe(409);
  });

  it('leaves a stranger without', async () => {
    const event = await ingest('not-yours');
    const other = await posthorn.tenant();
    expect((await other.request('GET', `/events/${event}`)).status).toBe(404);
    expect((await get('/events/0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e')).status).toBe(404);
  });
});

it('reads from the primary while the replica is away, says so, and goes back to it', async () => {
  await isUsed();
  await postgres.stopReplica();
  const event = await ingest('alone');
  expect(ids((await get('/events')).body)).toContain(event);
  const { status, body } = await posthorn.anonymous.request('GET', '/health');
  expect(status).toBe(200);
  expect(body.details.postgres_replica.status).toBe('degraded');
  expect(body.details.postgres.status).toBe('up');

  await postgres.startReplica();
  await isUsed();
  expect((await health()).lag_seconds).toBeLessThan(30);
  await postgres.pauseReplay();
  // What was decided in the last seconds still holds.
  await waitFor(
    async () => {
      const newest = await ingest(`later-${Date.now()}`);
      return !ids((await get('/events?limit=1')).body).includes(newest);
    },
    { what: 'lists to come from the replica again' },
  );
  await postgres.resumeReplay();
});

it('leaves a replica alone that is far behind', async () => {
  await isUsed();
  await postgres.pauseReplay();
  // The replica gets no newer sign of life until it is resumed: the one that it has grows old.
  await waitFor(async () => (await health()).status === 'degraded', {
    what: 'health to say how far behind it is',
  });
  expect(JSON.stringify(await health())).toMatch(/\d+ seconds behind/);
  const event = await ingest('behind');
  await waitFor(async () => ids((await get('/events?limit=1')).body).includes(event), {
    what: 'lists to come from the primary',
  });
  await postgres.resumeReplay();
  await isUsed();
});

it('takes another database for none', async () => {
  const stranger = await startPosthorn({
    env: {
      ROLE: 'api',
      REDIS_URL: (await freshRedis()).url,
      DATABASE_READ_URL: postgres.replicaUrl.replace(/\/posthorn$/, '/postgres'),
    },
    databaseUrl: postgres.primaryUrl,
  });
  const { body } = await stranger.anonymous.request('GET', '/health');
  expect(body.details.postgres_replica.status).toBe('degraded');
  const own = await stranger.tenant();
  expect((await own.request('GET', '/events')).status).toBe(200);
  await stranger.stop();
});
