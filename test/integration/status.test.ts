import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LaneRepository } from '../../src/persistence/repositories/lane.repository.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { delivered } from '../support/results.js';
import { Rows } from '../support/rows.js';

const UNKNOWN_ID = '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e';
const LARGEST_ID = 'ffffffff-ffff-7fff-bfff-ffffffffffff';

/** Everything that parsing and writing again would change. */
const PAYLOAD = String.raw`{ "id":12345678901234567890123, "b":1.0,"a":"\u00e9\/", "b": [1e2,  null] }`;

let posthorn: Posthorn;
let rows: Rows;
let tenant: TestTenant;
let stranger: TestTenant;
let subscription: string;

beforeAll(async () => {
  // No worker: deliveries stay as the test made them.
  posthorn = await startPosthorn({ env: { ROLE: 'api', REDIS_URL: (await freshRedis()).url } });
  rows = new Rows(posthorn.databaseUrl);
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
});
beforeEach(async () => {
  [tenant, stranger] = [await posthorn.tenant(), await posthorn.tenant()];
  subscription = await rows.subscription(tenant.id);
});

const get = (path: string, as = tenant) => as.request('GET', path);
const ids = (body: { data: { id: string }[] }) => body.data.map(({ id }) => id);

describe('events', () => {
  it('gives the payload byte for byte', async () => {
    const id = await rows.event(tenant.id, { payload: PAYLOAD, deliveryCount: 0 });

    const { status, headers, text, body } = await get(`/events/${id}`);

    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(text.endsWith(`,"payload":${PAYLOAD}}`)).toBe(true);
    expect(body).toMatchObject({
      id,
      event_id: id,
      event_type: 'order.paid',
      status: 'received',
      deliveries: 0,
    });
  });

  it('sums up the deliveries of an event', async () => {
    const at = Date.now();
    const event = await rows.event(tenant.id, { at, deliveryCount: 5 });
    // Made in the same millisecond: must not be counted.
    const other = await rows.event(tenant.id, { at });
    await rows.delivery(tenant.id, other, subscription, { status: 'dead' });
    const made = [];
    for (const status of ['pending', 'delivering', 'retrying', 'delivered', 'cancelled']) {
      made.push(await rows.delivery(tenant.id, event, subscription, { status }));
    }

    const { body } = await get(`/events/${event}/status`);

    expect(body).toMatchObject({
      id: event,
      event_id: event,
      event_type: 'order.paid',
      status: 'delivering',
    });
    expect(body.deliveries).toMatchObject({ total: 5, open: 3, delivered: 1, dead: 0, cancelled: 1 });
    expect(ids(body.deliveries).sort()).toEqual(made.sort());
    expect((await get(`/events/${other}`)).body.status).toBe('failed');
  });

  it('filters by type and by idempotency key', async () => {
    const paid = await rows.event(tenant.id, { eventType: 'order.paid', key: 'key-1' });
    const sent = await rows.event(tenant.id, { eventType: 'order.sent', key: 'key-2' });
    await rows.event(stranger.id, { key: 'key-1' });

    expect(ids((await get('/events?event_type=order.sent')).body)).toEqual([sent]);
    expect(ids((await get('/events?idempotency_key=key-1')).body)).toEqual([paid]);
    expect(ids((await get('/events?idempotency_key=unused')).body)).toEqual([]);
    expect(ids((await get('/events?idempotency_key=key-1&event_type=order.sent')).body)).toEqual([]);
  });

  it('lists in pages, newest first', async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) made.push(await rows.event(tenant.id, { at: Date.now() - 1000 + i }));
    const first = await get('/events?limit=3');
    const second = await get(`/events?limit=3&cursor=${first.body.next_cursor}`);

    expect([...ids(first.body), ...ids(second.body)]).toEqual(made.reverse());
    expect(second.body.next_cursor).toBeNull();
  });
});

describe('deliveries', () => {
  it('gives a delivery with its attempts', async () => {
    const event = await rows.event(tenant.id);
    const id = await rows.delivery(tenant.id, event, subscription, { status: 'retrying', attempts: 2 });
    await rows.attempt(id, 2);

    const { body } = await get(`/status/delivery/${id}`);

    expect(body).toEqual({
      id,
      event_id: event,
      event_type: 'order.paid',
      subscription_id: subscription,
      status: 'retrying',
      attempt_count: 2,
      next_attempt_at: expect.any(String),
      last_status_code: 500,
      last_error: null,
      created_at: expect.any(String),
      completed_at: null,
      attempts: [1, 2].map((attempt_number) => ({
        attempt_number,
        started_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        duration_ms: 12,
        status_code: 500,
        success: false,
        error: 'The subscriber answered 500.',
        note: null,
        response_headers: { 'content-type': 'text/plain' },
        response_body: 'no',
      })),
    });
  });

  it('filters by subscription, type, status and event', async () => {
    const other = await rows.subscription(tenant.id);
    const event = await rows.event(tenant.id);
    const older = await rows.event(tenant.id, { at: Date.now() - 5_000, eventType: 'order.sent' });
    const a = await rows.delivery(tenant.id, event, subscription, { status: 'dead' });
    const b = await rows.delivery(tenant.id, older, other, { status: 'delivered', eventType: 'order.sent' });

    expect(ids((await get('/deliveries')).body)).toEqual([a, b]);
    expect(ids((await get(`/deliveries?subscription_id=${other}`)).body)).toEqual([b]);
    expect(ids((await get('/deliveries?event_type=order.sent')).body)).toEqual([b]);
    expect(ids((await get('/deliveries?status=dead')).body)).toEqual([a]);
    expect(ids((await get('/deliveries?status=delivered')).body)).toEqual([b]);
    expect(ids((await get(`/deliveries?event_id=${event}`)).body)).toEqual([a]);
    expect(ids((await get(`/deliveries?event_id=${LARGEST_ID}`)).body)).toEqual([]);
    expect(ids((await get(`/deliveries?event_id=${event}&status=delivered`)).body)).toEqual([]);
    expect(ids((await get(`/status/subscription/${subscription}`)).body)).toEqual([a]);
  });

  it('pages through the deliveries of a subscription', async () => {
    const made: string[] = [];
    for (let i = 0; i < 3; i++) {
      const event = await rows.event(tenant.id, { at: Date.now() - 1000 + i });
      made.push(await rows.delivery(tenant.id, event, subscription));
    }
    const path = `/status/subscription/${subscription}?limit=2`;
    const first = await get(path);
    const second = await get(`${path}&cursor=${first.body.next_cursor}`);

    expect([...ids(first.body), ...ids(second.body)]).toEqual(made.reverse());
    expect(second.body.next_cursor).toBeNull();
  });
});

describe('what is not the tenant’s', () => {
  it('is not found, and not changed', async () => {
    const event = await rows.event(tenant.id);
    const delivery = await rows.delivery(tenant.id, event, subscription);

    for (const path of [
      `/events/${event}`,
      `/events/${event}/status`,
      `/status/delivery/${delivery}`,
      `/status/subscription/${subscription}`,
    ]) {
      expect(await get(path, stranger), path).toMatchObject({ status: 404, body: { code: 'not_found' } });
    }
    for (const verb of ['retry', 'cancel']) {
      expect((await stranger.request('POST', `/deliveries/${delivery}/${verb}`)).status, verb).toBe(404);
    }
    for (const path of ['/events', '/deliveries', `/deliveries?event_id=${event}`]) {
      expect(ids((await get(path, stranger)).body), path).toEqual([]);
    }
    expect((await get(`/status/delivery/${delivery}`)).body.status).toBe('pending');
  });

  it.each([UNKNOWN_ID, LARGEST_ID, 'nonsense'])('is not found: %s', async (id) => {
    for (const path of [
      `/events/${id}`,
      `/events/${id}/status`,
      `/status/delivery/${id}`,
      `/status/subscription/${id}`,
    ]) {
      expect((await get(path)).status, path).toBe(404);
    }
    expect((await tenant.request('POST', `/deliveries/${id}/retry`)).status).toBe(404);
    expect((await tenant.request('POST', `/deliveries/${id}/cancel`)).status).toBe(404);
  });
});

it.each([
  ['/events?event_type=%00', 'event_type'],
  ['/events?idempotency_key=a%00b', 'idempotency_key'],
  ['/events?idempotency_key=', 'idempotency_key'],
  ['/events?limit=0', 'limit'],
  ['/events?cursor=nonsense', 'cursor'],
  ['/events?status=dead', 'status'],
  ['/deliveries?status=lost', 'status'],
  ['/deliveries?status=dead&status=delivered', 'status'],
  ['/deliveries?subscription_id=1', 'subscription_id'],
  ['/deliveries?event_id=1', 'event_id'],
  ['/deliveries?event_type=a%20b', 'event_type'],
])('refuses %s', async (path, field) => {
  const { status, body } = await get(path);
  expect(status).toBe(422);
  expect(body.errors).toEqual([{ path: field, message: expect.any(String) }]);
});

describe('retry', () => {
  it.each(['dead', 'cancelled', 'delivered'])(
    'opens a %s delivery again with a fresh budget',
    async (status) => {
      const event = await rows.event(tenant.id);
      const id = await rows.delivery(tenant.id, event, subscription, { status, attempts: 3 });

      const answer = await tenant.request('POST', `/deliveries/${id}/retry`);

      expect(answer).toMatchObject({
        status: 200,
        body: {
          id,
          status: 'pending',
          attempt_count: 3,
          completed_at: null,
          next_attempt_at: expect.any(String),
        },
      });
      const [row] = await rows.query('select * from delivery where id = $1', [id]);
      expect(row).toMatchObject({ budget_start: 3, leased_until: null, dead_reason: null, dead_at: null });
      expect((await get(`/status/delivery/${id}`)).body.attempts).toHaveLength(1);
    },
  );

  it.each(['pending', 'retrying'])('makes a %s delivery due now, within its budget', async (status) => {
    const event = await rows.event(tenant.id);
    const dueAt = Date.now() + 3_600_000;
    const id = await rows.delivery(tenant.id, event, subscription, { status, attempts: 2, dueAt });

    const { body } = await tenant.request('POST', `/deliveries/${id}/retry`);

    expect(body.status).toBe(status);
    expect(Date.parse(body.next_attempt_at)).toBeLessThan(dueAt - 3_000_000);
    const [row] = await rows.query('select budget_start from delivery where id = $1', [id]);
    expect(row).toEqual({ budget_start: 0 });
  });

  it('refuses a delivery that is being attempted', async () => {
    const event = await rows.event(tenant.id);
    const id = await rows.delivery(tenant.id, event, subscription, { status: 'delivering', attempts: 1 });

    expect(await tenant.request('POST', `/deliveries/${id}/retry`)).toMatchObject({
      status: 409,
      body: { code: 'conflict', detail: expect.stringContaining('being attempted') },
    });
  });

  it('refuses a delivery whose subscription is gone', async () => {
    const event = await rows.event(tenant.id);
    const id = await rows.delivery(tenant.id, event, subscription, { status: 'dead' });
    await rows.query('delete from subscription where id = $1', [subscription]);

    expect(await tenant.request('POST', `/deliveries/${id}/retry`)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('deleted') },
    });
    expect((await get(`/status/delivery/${id}`)).body.status).toBe('dead');
  });

  it('accepts a delivery of an inactive subscription', async () => {
    const inactive = await rows.subscription(tenant.id, { isActive: false });
    const id = await rows.delivery(tenant.id, await rows.event(tenant.id), inactive, { status: 'dead' });
    expect((await tenant.request('POST', `/deliveries/${id}/retry`)).body.status).toBe('pending');
  });
});

describe('cancel', () => {
  it.each(['pending', 'retrying', 'delivering'])('ends a %s delivery', async (status) => {
    const id = await rows.delivery(tenant.id, await rows.event(tenant.id), subscription, { status });

    const answer = await tenant.request('POST', `/deliveries/${id}/cancel`);

    expect(answer).toMatchObject({
      status: 200,
      body: { id, status: 'cancelled', next_attempt_at: null, completed_at: expect.any(String) },
    });
  });

  it.each(['delivered', 'dead', 'cancelled'])('refuses a %s delivery', async (status) => {
    const id = await rows.delivery(tenant.id, await rows.event(tenant.id), subscription, { status });

    const answer = await tenant.request('POST', `/deliveries/${id}/cancel`);

    expect(answer).toMatchObject({ status: 409, body: { detail: expect.stringContaining(status) } });
    expect((await get(`/status/delivery/${id}`)).body.status).toBe(status);
  });

  it('stands when the result of an attempt arrives later, which is kept as history', async () => {
    const id = await rows.delivery(tenant.id, await rows.event(tenant.id), subscription);
    const lanes = posthorn.app.get(LaneRepository, { strict: false });
    const [claimed] = await lanes.claimDue([{ subscriptionId: subscription, quota: 1 }], 60);

    await tenant.request('POST', `/deliveries/${id}/cancel`);
    const changed = await lanes.record([delivered(claimed!)]);

    expect(changed.size).toBe(0);
    expect((await get(`/status/delivery/${id}`)).body).toMatchObject({
      status: 'cancelled',
      attempts: [{ attempt_number: 1, status_code: 200 }],
    });
  });
});
