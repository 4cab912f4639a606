import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const PAYLOAD = String.raw`{"id":12345678901234567890123,"b":1.0,"a":"\u00e9\/" , "b":2}`;
const NOON = Date.parse('2026-01-31T12:00:00.000Z');

let posthorn: Posthorn;
let rows: Rows;
let tenant: TestTenant;
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
  tenant = await posthorn.tenant();
  subscription = await rows.subscription(tenant.id);
});

const ids = (body: { data: { id: string }[] }) => body.data.map(({ id }) => id);
const statusOf = async (id: string, of = tenant) =>
  (await of.request('GET', `/status/delivery/${id}`)).body.status as string;

async function deadLetter({
  of = tenant,
  to = subscription,
  payload = '{}',
  ...options
}: DeadLetterOptions = {}) {
  const event = await rows.event(of.id, { payload, at: options.at ?? Date.now() });
  return rows.delivery(of.id, event, to, { status: 'dead', attempts: 1, ...options });
}
interface DeadLetterOptions {
  of?: TestTenant;
  to?: string;
  payload?: string;
  at?: number;
  endedAt?: number;
  reason?: string;
  eventType?: string;
}

describe('looking', () => {
  it('gives a dead letter with its attempts and the payload byte for byte', async () => {
    const id = await deadLetter({ payload: PAYLOAD, endedAt: NOON });

    const { status, headers, text, body } = await tenant.request('GET', `/dlq/${id}`);

    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(text.endsWith(`,"payload":${PAYLOAD}}`)).toBe(true);
    expect(body).toMatchObject({
      id,
      subscription_id: subscription,
      status: 'dead',
      reason: 'exhausted',
      dead_at: '2026-01-31T12:00:00.000Z',
      attempts: [{ attempt_number: 1, status_code: 500, success: false }],
    });
  });

  it('lists dead letters alone, in pages, the newest event first', async () => {
    const made: string[] = [];
    for (let i = 0; i < 3; i++) made.push(await deadLetter({ at: Date.now() - 1000 + i }));
    await rows.delivery(tenant.id, await rows.event(tenant.id), subscription, { status: 'retrying' });

    const first = await tenant.request('GET', '/dlq?limit=2');
    const second = await tenant.request('GET', `/dlq?limit=2&cursor=${first.body.next_cursor}`);

    expect([...ids(first.body), ...ids(second.body)]).toEqual(made.reverse());
    expect(second.body.next_cursor).toBeNull();
    expect(first.body.data[0]).toMatchObject({ reason: 'exhausted', dead_at: expect.any(String) });
  });

  it('is for the owner alone', async () => {
    const id = await deadLetter();
    const stranger = await posthorn.tenant();

    expect(ids((await stranger.request('GET', '/dlq')).body)).toEqual([]);
    expect((await stranger.request('GET', `/dlq/${id}`)).status).toBe(404);
    expect((await stranger.request('POST', `/dlq/${id}/retry`)).status).toBe(404);
    expect((await stranger.request('DELETE', `/dlq/${id}`)).status).toBe(404);
    expect((await stranger.request('POST', '/dlq/retry', {})).body).toEqual({
      matched: 0,
      next_cursor: null,
    });
    expect((await stranger.request('POST', '/dlq/discard', {})).body).toEqual({
      matched: 0,
      next_cursor: null,
    });
    expect(await statusOf(id)).toBe('dead');
  });

  it.each(['delivered', 'pending', 'cancelled'])(
    'does not take a %s delivery for a dead letter',
    async (status) => {
      const id = await rows.delivery(tenant.id, await rows.event(tenant.id), subscription, { status });
      expect((await tenant.request('GET', `/dlq/${id}`)).status).toBe(404);
      expect((await tenant.request('POST', `/dlq/${id}/retry`)).status).toBe(404);
      expect((await tenant.request('DELETE', `/dlq/${id}`)).status).toBe(404);
      expect(await statusOf(id)).toBe(status);
    },
  );
});

describe('filters', () => {
  /** Five dead letters that each differ from the first in one thing. */
  async function five() {
    const other = await rows.subscription(tenant.id);
    return {
      other,
      plain: await deadLetter({ endedAt: NOON }),
      elsewhere: await deadLetter({ endedAt: NOON, to: other }),
      typed: await deadLetter({ endedAt: NOON, eventType: 'order.sent' }),
      gone: await deadLetter({ endedAt: NOON, reason: 'gone' }),
      earlier: await deadLetter({ endedAt: NOON - 1 }),
    };
  }
  type Five = Awaited<ReturnType<typeof five>>;
  type Name = 'plain' | 'elsewhere' | 'typed' | 'gone' | 'earlier';

  it.each<[string, (made: Five) => Record<string, string>, Name[]]>([
    ['nothing', () => ({}), ['plain', 'elsewhere', 'typed', 'gone', 'earlier']],
    ['subscription', ({ other }) => ({ subscription_id: other }), ['elsewhere']],
    ['event type', () => ({ event_type: 'order.sent' }), ['typed']],
    ['reason', () => ({ reason: 'gone' }), ['gone']],
    ['from, included', () => ({ from: '2026-01-31T12:00:00Z' }), ['plain', 'elsewhere', 'typed', 'gone']],
    ['to, excluded', () => ({ to: '2026-01-31T13:00:00+01:00' }), ['earlier']],
    [
      'several',
      () => ({ reason: 'exhausted', event_type: 'order.paid', from: '2026-01-31T12:00:00Z' }),
      ['plain', 'elsewhere'],
    ],
  ])('by %s, in the list, for retry and for discard', async (_, filterOf, names) => {
    for (const [path, becomes] of [
      ['/dlq/retry', 'pending'],
      ['/dlq/discard', 'cancelled'],
    ] as const) {
      tenant = await posthorn.tenant();
      subscription = await rows.subscription(tenant.id);
      const made = await five();
      const filter = filterOf(made);

      const query = new URLSearchParams(filter).toString();
      const listed = ids((await tenant.request('GET', `/dlq?${query}`)).body);
      expect(listed.sort()).toEqual(names.map((name) => made[name]).sort());

      expect(await tenant.request('POST', path, filter)).toMatchObject({
        status: 200,
        body: { matched: names.length },
      });
      for (const name of ['plain', 'elsewhere', 'typed', 'gone', 'earlier'] as const) {
        expect(await statusOf(made[name]), name).toBe(names.includes(name) ? becomes : 'dead');
      }
      expect((await tenant.request('POST', path, filter)).body).toEqual({ matched: 0, next_cursor: null });
    }
  });

  it.each<[unknown, string]>([
    [{ subscription_id: 'x' }, 'subscription_id'],
    [{ event_type: 'a\0b' }, 'event_type'],
    [{ reason: 'boredom' }, 'reason'],
    [{ from: 'yesterday' }, 'from'],
    [{ to: '2026-02-30' }, 'to'],
    [{ to: '2026-13-01T00:00:00Z' }, 'to'],
    [{ to: 5 }, 'to'],
    [{ everything: true }, 'everything'],
    ...['subscription_id', 'event_type', 'reason', 'from', 'to'].map(
      (field): [Record<string, unknown>, string] => [{ [field]: null }, field],
    ),
    [null, 'body'],
  ])('refuses %j', async (filter, field) => {
    const id = await deadLetter();
    for (const path of ['/dlq/retry', '/dlq/discard']) {
      const { status, body } = await tenant.request('POST', path, filter);
      expect(status).toBe(422);
      expect(body.errors).toEqual([{ path: field, message: expect.any(String) }]);
    }
    expect(await statusOf(id)).toBe('dead');
  });

  it('refuses no body: `{}` means all, and has to be said', async () => {
    const id = await deadLetter();
    for (const path of ['/dlq/retry', '/dlq/discard']) {
      expect(await tenant.request('POST', path)).toMatchObject({
        status: 400,
        body: { code: 'malformed_json' },
      });
    }
    expect(await statusOf(id)).toBe('dead');
  });
});

describe('retry', () => {
  it('opens it again with a fresh budget and its history', async () => {
    const id = await deadLetter();

    const answer = await tenant.request('POST', `/dlq/${id}/retry`);

    expect(answer).toMatchObject({ status: 200, body: { id, status: 'pending', completed_at: null } });
    const [row] = await rows.query('select * from delivery where id = $1', [id]);
    expect(row).toMatchObject({ attempt_count: 1, budget_start: 1, dead_reason: null, dead_at: null });
    expect((await tenant.request('GET', `/dlq/${id}`)).status).toBe(404);
    expect((await tenant.request('POST', `/dlq/${id}/retry`)).status).toBe(404);
  });

  it('leaves those whose subscription was deleted, which can only be discarded', async () => {
    const kept = await deadLetter();
    const deleted = await rows.subscription(tenant.id);
    const orphan = await deadLetter({ to: deleted, reason: 'subscription_deleted' });
    await rows.query('delete from subscription where id = $1', [deleted]);

    expect(await tenant.request('POST', `/dlq/${orphan}/retry`)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('deleted') },
    });
    expect((await tenant.request('POST', '/dlq/retry', {})).body).toEqual({ matched: 1, next_cursor: null });
    expect(await statusOf(kept)).toBe('pending');
    expect(await statusOf(orphan)).toBe('dead');
    expect((await tenant.request('POST', '/dlq/discard', {})).body).toEqual({
      matched: 1,
      next_cursor: null,
    });
    expect(await statusOf(orphan)).toBe('cancelled');
  });

  it('reaches all of many, and others’ not', async () => {
    const stranger = await posthorn.tenant();
    const foreign = await deadLetter({ of: stranger, to: await rows.subscription(stranger.id) });
    const event = await rows.event(tenant.id);
    const many = Array.from({ length: 2_500 }, () => uuidV7(Date.now()));
    await rows.query(
      `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, dead_reason, dead_at,
         completed_at, created_at)
       select id, $2, $3, $4, case when n % 2 = 0 then 'even' else 'odd' end, 'dead', 'exhausted', now(), now(), now()
       from unnest($1::uuid[]) with ordinality as t(id, n)`,
      [many, tenant.id, event, subscription],
    );

    expect((await tenant.request('POST', '/dlq/retry', { event_type: 'odd' })).body).toEqual({
      matched: 1_250,
      next_cursor: null,
    });
    // At the same time, and yet each one is counted once.
    const both = await Promise.all([1, 2].map(() => tenant.request('POST', '/dlq/discard', {})));
    expect(both.reduce((sum, { body }) => sum + Number(body.matched), 0)).toBe(1_250);

    const counts = await rows.query(
      'select status, count(*)::int from delivery where tenant_id = $1 group by 1 order by 1',
      [tenant.id],
    );
    expect(counts).toEqual([
      { status: 'cancelled', count: 1_250 },
      { status: 'pending', count: 1_250 },
    ]);
    expect(await statusOf(foreign, stranger)).toBe('dead');
  });
});

it('discards one', async () => {
  const id = await deadLetter();
  expect((await tenant.request('DELETE', `/dlq/${id}`)).status).toBe(204);
  expect(await statusOf(id)).toBe('cancelled');
  expect((await tenant.request('DELETE', `/dlq/${id}`)).status).toBe(404);
});

it('delivers a dead letter that is retried once its subscriber is well again', async () => {
  let answer = 500;
  const received: string[] = [];
  const subscriber = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => received.push(chunk.toString()));
    request.on('end', () => response.writeHead(answer).end());
  }).listen(0, '127.0.0.1');
  await waitFor(() => subscriber.listening, { what: 'the subscriber' });
  // The sweep must not be what delivers it.
  const whole = await startPosthorn({ env: { SWEEP_INTERVAL_SECONDS: '300' } });
  try {
    const owner = await whole.tenant();
    const created = await owner.request('POST', '/subscriptions', {
      target_url: `http://127.0.0.1:${(subscriber.address() as AddressInfo).port}/`,
      retry_policy: { schedule: [] },
    });
    expect(created.status).toBe(201);
    await owner.request('POST', '/events', `{"event_type":"order.paid","payload":${PAYLOAD}}`);
    const deadOne = async () => ids((await owner.request('GET', '/dlq')).body)[0];
    const id = await waitFor(deadOne, { what: 'the dead letter' });

    answer = 204;
    await owner.request('POST', '/dlq/retry', {});

    await waitFor(async () => (await statusOf(id, owner)) === 'delivered', { what: 'the delivery' });
    expect(received).toEqual([PAYLOAD, PAYLOAD]);
    const { body } = await owner.request('GET', `/status/delivery/${id}`);
    expect(body.attempts).toMatchObject([{ success: false }, { success: true }]);
  } finally {
    await whole.stop();
    subscriber.closeAllConnections();
    subscriber.close();
  }
});
