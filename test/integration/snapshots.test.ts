import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';

/**
 * An answer that states a status beside the rows or counts that explain it is of one moment: it never contradicts itself,
 * however often it is asked for while deliveries are made, fail, die and are opened again.
 *
 * A case is a route, which may name an event and one of its deliveries, and what must hold of every answer.
 */

const EVENTS = 6;
const SUBSCRIPTIONS = 3;
const OPEN = ['pending', 'delivering', 'retrying'];

interface Case {
  method?: 'GET' | 'POST';
  path: (ids: { event: string; delivery: string; subscription: string }) => string;
  body?: object;
  /** 404 is an answer too: what is looked for may not be dead just now. */
  holds: (body: any) => void;
}

const CASES: Record<string, Case> = {
  'a delivery and its attempts': {
    path: ({ delivery }) => `/status/delivery/${delivery}`,
    holds: attemptsFit,
  },
  'a dead letter and its attempts': { path: ({ delivery }) => `/dlq/${delivery}`, holds: attemptsFit },
  'an event and its deliveries': { path: ({ event }) => `/events/${event}/status`, holds: countsFit },
  'an event and its payload': { path: ({ event }) => `/events/${event}`, holds: eventFits },
  'an event by its key': { path: () => '/events?idempotency_key=key-0', holds: each(eventFits) },
  events: { path: () => '/events?limit=20', holds: each(eventFits) },
  deliveries: { path: () => '/deliveries?limit=50', holds: each(deliveryFits) },
  'dead deliveries': { path: () => '/deliveries?status=dead', holds: each(isOfStatus('dead')) },
  'deliveries of a subscription': {
    path: ({ subscription }) => `/status/subscription/${subscription}`,
    holds: each(deliveryFits),
  },
  'dead letters': { path: () => '/dlq?limit=50', holds: each(deliveryFits) },
  'a search by status': {
    method: 'POST',
    path: () => '/webhooks/search',
    body: { status: 'dead', limit: 100 },
    holds: searchFits('dead'),
  },
  'a search by another status': {
    method: 'POST',
    path: () => '/webhooks/search',
    body: { status: 'delivered', limit: 100 },
    holds: searchFits('delivered'),
  },
  statistics: { path: () => '/stats?interval=hour', holds: statisticsFit },
};

let posthorn: Posthorn;
let tenant: TestTenant;
let subscriber: Server;
let event: string;
let deliveries: { id: string; subscription_id: string }[];

beforeAll(async () => {
  // Two of three answers are failures, so deliveries end in both ways.
  let answers = 0;
  subscriber = createServer((request, response) => {
    request.resume();
    response.statusCode = answers++ % 3 === 0 ? 200 : 500;
    response.end();
  }).listen(0, '127.0.0.1');
  posthorn = await startPosthorn({
    env: { RETRY_BASE_DELAY: '0', MAX_ATTEMPTS: '2', SWEEP_INTERVAL_SECONDS: '0.2' },
  });
  tenant = await posthorn.tenant();
  const { port } = subscriber.address() as AddressInfo;
  for (let index = 0; index < SUBSCRIPTIONS; index++) {
    await tenant.request('POST', '/subscriptions', { target_url: `http://127.0.0.1:${port}/${index}` });
  }
  const events: string[] = [];
  for (let index = 0; index < EVENTS; index++) {
    const sent = { event_type: 'a', payload: { index }, idempotency_key: `key-${index}` };
    events.push((await tenant.request('POST', '/events', sent)).body.id as string);
  }
  event = events[0]!;
  deliveries = (await tenant.request('GET', '/deliveries?limit=100')).body.data;
  expect(deliveries).toHaveLength(EVENTS * SUBSCRIPTIONS);
});
afterAll(async () => {
  await posthorn.stop();
  subscriber.close();
});

it('never contradicts itself', async () => {
  const asked = { event, delivery: '', subscription: deliveries[0]!.subscription_id };
  const statuses = new Set<string>();
  const isChanging = { over: false };
  const change = (async () => {
    // Whatever has ended is opened again, so that something changes all the time.
    while (!isChanging.over) {
      for (const { id } of deliveries) await tenant.request('POST', `/deliveries/${id}/retry`);
    }
  })();
  let answers = 0;
  const ask = async (name: string, { method = 'GET', path, body, holds }: Case): Promise<void> => {
    for (let round = 0; round < 100; round++) {
      const delivery = deliveries[round % deliveries.length]!.id;
      const answer = await tenant.request(method, path({ ...asked, delivery }), body);
      if (answer.status === 404) continue;
      expect(answer.status, `${name}: ${answer.text}`).toBe(200);
      expect(() => holds(answer.body), `${name}: ${answer.text}`).not.toThrow();
      if (typeof answer.body.status === 'string') statuses.add(answer.body.status);
      answers++;
    }
  };
  try {
    await Promise.all(Object.entries(CASES).map(([name, one]) => ask(name, one)));
  } finally {
    isChanging.over = true;
    await change;
  }
  expect(answers).toBeGreaterThan(1_000);
  // It did change meanwhile.
  expect([...statuses]).toEqual(expect.arrayContaining(['delivering', 'delivered', 'dead', 'failed']));
}, 120_000);

function each(holds: (one: any) => void) {
  return ({ data }: any) => {
    for (const one of data) holds(one);
  };
}

/** Nothing is lost here, so every attempt that has begun but for the present one is recorded. */
function attemptsFit(delivery: any): void {
  deliveryFits(delivery);
  const { attempts, status, attempt_count: begun, last_status_code: last } = delivery;
  expect(attempts).toHaveLength(status === 'delivering' ? begun - 1 : begun);
  if (begun > 0 && status !== 'delivering') expect(attempts.at(-1).status_code).toBe(last);
  if (status === 'delivered') expect(attempts.at(-1).success).toBe(true);
  if (status === 'dead') expect(attempts.at(-1).success).toBe(false);
}

function deliveryFits({
  status,
  completed_at: completedAt,
  next_attempt_at: next,
  last_status_code: code,
  attempt_count,
}: any): void {
  expect(completedAt === null).toBe(OPEN.includes(status));
  expect(next === null).toBe(!OPEN.includes(status));
  if (status === 'delivered') expect(code).toBe(200);
  if (status === 'dead') expect(code).toBe(500);
  if (status !== 'pending') expect(attempt_count).toBeGreaterThan(0);
}

function isOfStatus(wanted: string) {
  return (delivery: any) => {
    expect(delivery.status).toBe(wanted);
    deliveryFits(delivery);
  };
}

function countsFit({ status, deliveries: { total, data, ...counts } }: any): void {
  const count = (...wanted: string[]) => data.filter((one: any) => wanted.includes(one.status)).length;
  expect(counts).toEqual({
    open: count(...OPEN),
    delivered: count('delivered'),
    dead: count('dead'),
    cancelled: count('cancelled'),
  });
  expect(total).toBe(data.length);
  const expected = counts.dead > 0 ? 'failed' : counts.open > 0 ? 'delivering' : 'delivered';
  expect(status).toBe(expected);
}

function eventFits({ status, deliveries: count }: any): void {
  expect(count).toBe(SUBSCRIPTIONS);
  expect(['delivering', 'delivered', 'failed']).toContain(status);
}

function searchFits(wanted: string) {
  return ({ data, aggregations, is_complete: isComplete }: any) => {
    for (const one of data) isOfStatus(wanted)(one);
    if (!isComplete || !aggregations.is_exact) return;
    expect(aggregations.total).toBe(data.length);
    expect(aggregations.by_status).toEqual(data.length > 0 ? { [wanted]: data.length } : {});
  };
}

function statisticsFit({ totals, series }: any): void {
  for (const name of ['attempts', 'delivered', 'retries']) {
    expect(series.reduce((sum: number, point: any) => sum + Number(point[name]), 0)).toBe(totals[name]);
  }
  expect(series.at(-1).dlq_size).toBe(totals.dlq_size);
}
