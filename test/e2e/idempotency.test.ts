import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Answer, Client, client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** Two processes' worth of service on one database. */
let posthorns: [Posthorn, Posthorn];
let simulator: Simulator;
let tenant: TestTenant;
/** The tenant at both services, in turn. */
let clients: Client[];

beforeAll(async () => {
  simulator = await startSimulator();
  const first = await startPosthorn();
  posthorns = [first, await startPosthorn({ databaseUrl: first.databaseUrl })];
});
afterAll(async () => {
  for (const posthorn of posthorns.toReversed()) await posthorn.stop();
  await simulator.close();
});
beforeEach(async () => {
  simulator.clear();
  tenant = await posthorns[0].tenant();
  clients = posthorns.map(({ url }) => client(url, tenant.apiKey));
  await tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok/once` });
  // The other service has heard of it.
  await waitFor(
    async () => {
      const probe = { event_type: 'probe', payload: 0 };
      const { body } = await clients[1]!.request('POST', '/events', probe);
      return body.deliveries === 1;
    },
    { what: 'both services to know the subscription' },
  );
  await everyDeliveryEnded();
  simulator.clear();
});

async function everyDeliveryEnded(): Promise<void> {
  await waitFor(
    async () => {
      const { body } = await tenant.request('GET', '/deliveries?limit=100');
      return (body.data as { status: string }[]).every(({ status }) => status === 'delivered');
    },
    { what: 'every delivery to end' },
  );
}

const AT_ONCE = 64;
const EVENT = { event_type: 'order.paid', payload: { order: 42 } };

describe('64 requests at once, to two services,', () => {
  const WAYS: [string, object, Record<string, string>][] = [
    ['idempotency_key', { ...EVENT, idempotency_key: 'k' }, {}],
    ['event_id', { ...EVENT, event_id: 'e' }, {}],
    ['Idempotency-Key header', EVENT, { 'idempotency-key': 'h' }],
    ['key in both places', { ...EVENT, idempotency_key: 'b' }, { 'idempotency-key': 'b' }],
  ];

  it.each(WAYS)('with the same %s are one event', async (_, body, headers) => {
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, index) =>
        clients[index % 2]!.request('POST', '/events', body, headers),
      ),
    );
    expectOneEvent(answers);
    await simulator.waitFor(1);
    await everyDeliveryEnded();
    expect(simulator.received.map((arrival) => arrival.headers['webhook-id'])).toEqual([answers[0]!.body.id]);
  });

  it('for one subscription, with the same key, are one event', async () => {
    const { data } = (await tenant.request('GET', '/subscriptions')).body;
    const path = `/webhooks/ingest/${data[0].id as string}`;
    const body = { event: 'order.paid', data: 1, idempotency_key: 'd' };
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, index) => clients[index % 2]!.request('POST', path, body)),
    );
    expectOneEvent(answers);
    await simulator.waitFor(1);
    await everyDeliveryEnded();
    expect(simulator.total).toBe(1);
  });

  it('with one key and two bodies are one event, and conflicts', async () => {
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, index) =>
        clients[index % 2]!.request('POST', '/events', { ...EVENT, payload: index % 4 < 2, event_id: 'c' }),
      ),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(1);
    expect(statuses.filter((status) => status === 200)).toHaveLength(AT_ONCE / 2 - 1);
    const conflicts = answers.filter(({ status }) => status === 409);
    expect(conflicts).toHaveLength(AT_ONCE / 2);
    for (const { body } of conflicts) expect(body.code).toBe('idempotency_conflict');
  });
});

function expectOneEvent(answers: Answer[]): void {
  const texts = answers.filter(({ status }) => status !== 202 && status !== 200).map(({ text }) => text);
  expect(texts).toEqual([]);
  expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
  expect(new Set(answers.map(({ body }) => body.id as string)).size).toBe(1);
  for (const { status, body } of answers) {
    expect(body).toMatchObject({ duplicate: status === 200, deliveries: 1 });
  }
}

describe('the same key', () => {
  const post = (body: object): Promise<Answer> => tenant.request('POST', '/events', body);

  it.each([
    ['another payload', { ...EVENT, payload: { order: 43 } }],
    ['the same payload in other bytes', `{"event_type":"order.paid","payload":{ "order":42},"event_id":"x"}`],
    ['another type', { ...EVENT, event_type: 'order.sent' }],
  ])('with %s is a conflict that changes nothing', async (_, other) => {
    const first = await post({ ...EVENT, event_id: 'x' });
    const body = typeof other === 'string' ? other : { ...other, event_id: 'x' };
    const conflict = await tenant.request('POST', '/events', body);
    expect(conflict.status).toBe(409);
    expect(conflict.body).toMatchObject({ code: 'idempotency_conflict', status: 409 });
    expect(conflict.body.detail).toContain(first.body.id);

    const again = await post({ ...EVENT, event_id: 'x' });
    expect(again.status).toBe(200);
    expect(again.body.id).toBe(first.body.id);
    await everyDeliveryEnded();
    expect(simulator.total).toBe(1);
  });

  it('by one subscription’s door and by the common one is a conflict', async () => {
    const { data } = (await tenant.request('GET', '/subscriptions')).body;
    await post({ ...EVENT, event_id: 'x' });
    const direct = { event: EVENT.event_type, data: EVENT.payload, event_id: 'x' };
    const answer = await tenant.request('POST', `/webhooks/ingest/${data[0].id as string}`, direct);
    expect(answer.status).toBe(409);
  });

  it('of another tenant is another key', async () => {
    const other = await posthorns[0].tenant('another');
    const first = await post({ ...EVENT, event_id: 'x' });
    const second = await other.request('POST', '/events', { ...EVENT, payload: 'else', event_id: 'x' });
    expect(second.status).toBe(202);
    expect(second.body.id).not.toBe(first.body.id);
  });

  it('answers with the status of now', async () => {
    await post({ ...EVENT, event_id: 'x' });
    await simulator.waitFor(1);
    await everyDeliveryEnded();
    expect((await post({ ...EVENT, event_id: 'x' })).body).toMatchObject({
      status: 'delivered',
      event_id: 'x',
      duplicate: true,
    });
  });

  it('in one batch is accepted once, then a duplicate or a conflict', async () => {
    const events = [
      { ...EVENT, event_id: 'x' },
      { ...EVENT, event_id: 'y' },
      { ...EVENT, event_id: 'x' },
      { ...EVENT, idempotency_key: 'y', event_id: 'z' },
      EVENT,
      EVENT,
    ];
    const { status, body } = await tenant.request('POST', '/events/batch', { events });
    expect(status).toBe(202);
    const results = body.results as { id: string; status: string }[];
    expect(results.map((result) => result.status)).toEqual([
      'accepted',
      'accepted',
      'duplicate',
      'duplicate',
      'accepted',
      'accepted',
    ]);
    expect(results[2]!.id).toBe(results[0]!.id);
    expect(results[3]!.id).toBe(results[1]!.id);

    const conflicting = await tenant.request('POST', '/events/batch', {
      events: [
        { ...EVENT, event_id: 'w' },
        { ...EVENT, event_id: 'w', payload: 'else' },
        { ...EVENT, event_id: 'x', payload: 'else' },
      ],
    });
    expect(conflicting.body.results).toMatchObject([
      { status: 'accepted' },
      { status: 'rejected', error: { code: 'idempotency_conflict' } },
      { status: 'rejected', error: { code: 'idempotency_conflict' } },
    ]);
  });
});

it('overlapping batches in any order agree which event each key is', async () => {
  const KEYS = 150;
  const BATCHES = 40;
  const keys = Array.from({ length: KEYS }, (_, index) => `key-${index}`);
  const batch = (turn: number) => {
    const turned = [...keys.slice((turn * 37) % KEYS), ...keys.slice(0, (turn * 37) % KEYS)];
    return turn % 2 === 0 ? turned : turned.toReversed();
  };
  const answers = await Promise.all(
    Array.from({ length: BATCHES }, (_, turn) =>
      clients[turn % 2]!.request('POST', '/events/batch', {
        events: batch(turn).map((key) => ({ ...EVENT, idempotency_key: key })),
      }),
    ),
  );
  expect(answers.filter(({ status }) => status !== 202).map(({ text }) => text)).toEqual([]);
  const idOfKey = new Map<string, Set<string>>(keys.map((key) => [key, new Set()]));
  let accepted = 0;
  for (const [turn, { body }] of answers.entries()) {
    for (const { index, id, status } of body.results as { index: number; id: string; status: string }[]) {
      idOfKey.get(batch(turn)[index]!)!.add(id);
      if (status === 'accepted') accepted++;
    }
  }
  expect(accepted).toBe(KEYS);
  for (const [key, ids] of idOfKey) expect(ids.size, key).toBe(1);
  await simulator.waitFor(KEYS);
});

it('batches with the same keys in opposite orders do not wait for each other in a circle', async () => {
  const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`);
  const send = (at: Client, order: string[]): Promise<Answer> =>
    at.request('POST', '/events/batch', {
      events: order.map((key) => ({ ...EVENT, idempotency_key: key })),
    });
  // A key in the middle that somebody is about to take: both get there, and hold what they took on their way.
  const postgres = new pg.Client({ connectionString: posthorns[0].databaseUrl });
  await postgres.connect();
  await postgres.query('begin');
  await postgres.query(
    `insert into idempotency_key (tenant_id, key, event_id, fingerprint) values ($1, $2, $1, '')`,
    [tenant.id, keys[100]],
  );
  const answers = Promise.all([send(clients[0]!, keys), send(clients[1]!, keys.toReversed())]);
  await waitFor(
    async () => {
      const { rows } = await postgres.query(
        `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rows.length === 2;
    },
    { what: 'both batches to wait' },
  );
  await postgres.query('rollback');
  await postgres.end();

  const [forwards, backwards] = await answers;
  expect([forwards.text, backwards.text]).toEqual([
    expect.stringContaining('"results"'),
    expect.stringContaining('"results"'),
  ]);
  const results = [...forwards.body.results, ...backwards.body.results] as { id: string; status: string }[];
  expect(results.filter(({ status }) => status === 'accepted')).toHaveLength(keys.length);
  expect(results.filter(({ status }) => status === 'duplicate')).toHaveLength(keys.length);
  expect(new Set(results.map(({ id }) => id)).size).toBe(keys.length);
});
