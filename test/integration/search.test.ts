import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DELIVERY_STATUSES } from '../../src/domain/delivery-status.js';
import { uuidTime, uuidV7 } from '../../src/domain/uuid-v7.js';
import { SearchService } from '../../src/status/search.service.js';
import { type Answer, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';

const HOUR_MS = 3_600_000;
const START = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 5 * HOUR_MS;
const TYPES = [
  'user.created',
  'user.profile.updated',
  'user',
  'order.paid',
  'order_paid',
  'Order.Paid%',
  'x',
];
const ERRORS = [
  'HTTP 503',
  'timeout: 100 % of 10_000 ms',
  String.raw`C:\target refused`,
  'TIMEOUT: no answer',
];

/** What a payload holds, and what of it can be found. */
const PAYLOADS: (string | Buffer)[] = [
  '{"id":1,"data":{"object":{"id":"cus_1","live":true,"none":null}}}',
  '{"id":2.0,"data":{"object":{"id":"cus_2","live":false}},"list":[{"sku":"a"},{"sku":"b"}]}',
  '{"id":"1","data":{"object":"cus_1"}}',
  String.raw`{"id":1e0,"data":{"object":{"id":"cus\u005f1","live":true,"text":"\u0000 and \ud800"}}}`,
  String.raw`{"id":12345678901234567890123,"data":{"object":{"id":"\\u0000 cus_1"}}}`,
  '{"id":1,"id":3}',
  '[{"id":1}]',
  '"cus_1"',
  'no JSON: cus_1',
  Buffer.from([0, 255, 1, 92, 0]),
  '',
];
const VALUES: { path: string; equals: string | number | boolean | null }[] = [
  { path: 'id', equals: 1 },
  { path: 'id', equals: 2 },
  { path: 'id', equals: 3 },
  { path: 'id', equals: '1' },
  { path: 'id', equals: Number('12345678901234567890123') },
  { path: 'data.object.id', equals: 'cus_1' },
  { path: 'data.object.live', equals: true },
  { path: 'data.object.none', equals: null },
  { path: 'data.object.nothing', equals: null },
  { path: 'list.1.sku', equals: 'b' },
  { path: '0.id', equals: 1 },
];

interface Row {
  id: string;
  tenant_id: string;
  event_id: string;
  subscription_id: string;
  event_type: string;
  status: (typeof DELIVERY_STATUSES)[number];
  last_status_code: number | null;
  last_error: string | null;
  event: {
    idempotency_key: string | null;
    source_id: string | null;
    payload: Buffer;
    content_type: string | null;
  };
}

let posthorn: Posthorn;
let rows: Rows;
const tenants: TestTenant[] = [];
const subscriptions: string[] = [];
const sources = [uuidV7(START), uuidV7(START)];
/** All deliveries, newest first. */
let all: Row[] = [];

beforeAll(async () => {
  // No worker: deliveries stay as the test made them.
  posthorn = await startPosthorn({
    env: {
      ROLE: 'api',
      REDIS_URL: (await freshRedis()).url,
      TENANT_RATE_LIMIT: '100000',
      TENANT_RATE_BURST: '100000',
    },
  });
  rows = new Rows(posthorn.databaseUrl);
  limits(UNHURRIED);
  tenants.push(await posthorn.tenant(), await posthorn.tenant());
  for (let index = 0; index < 4; index++) subscriptions.push(uuidV7(START));
  // As many of one type in one millisecond as no first step takes.
  const crowd = Array.from({ length: 260 }, (_, index) =>
    eventOf(index, START + 2 * HOUR_MS, 'order.paid', 5),
  );
  const others = Array.from({ length: 1_000 }, (_, index) => eventOf(index));
  await write([...crowd, ...others]);
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
});

type Made = Row['event'] & {
  id: string;
  at: number;
  event_type: string;
  tenant_id: string;
  deliveries: Row[];
};

/** Drawn without chance, from its number. */
function eventOf(index: number, at?: number, type?: string, fanOut = index % 4): Made {
  const pick = <T>(from: readonly T[], step: number) => from[Math.floor(index / step) % from.length] as T;
  const ms = at ?? START + Math.floor((index * 7_919) % 900) * 20_000 + (index % 2);
  const tenant = tenants[index % 5 === 4 ? 1 : 0]!;
  const event = {
    id: uuidV7(ms),
    at: ms,
    tenant_id: tenant.id,
    event_type: type ?? pick(TYPES, 3),
    idempotency_key: index % 3 === 0 && at === undefined ? `key-${index}` : null,
    source_id: pick([null, ...sources], 2),
    payload: Buffer.from(pick(PAYLOADS, 1)),
    content_type: pick([null, 'application/json', 'application/vnd.x+json', 'text/plain'], 5),
  };
  const deliveries = Array.from({ length: fanOut }, (_, at): Row => {
    const status = pick<Row['status']>(['delivered', 'delivered', ...DELIVERY_STATUSES], 1 + at);
    const hasFailed = ['dead', 'retrying', 'cancelled'].includes(status);
    return {
      id: uuidV7(ms),
      tenant_id: tenant.id,
      event_id: event.id,
      subscription_id: subscriptions[at % 4]!,
      event_type: event.event_type,
      status,
      last_status_code: hasFailed
        ? pick([null, 404, 429, 503, 600, 999], 7)
        : status === 'delivered'
          ? pick([200, 204], 3)
          : null,
      last_error: hasFailed ? pick(ERRORS, 2) : null,
      event,
    };
  });
  return { ...event, deliveries };
}

async function write(events: Made[]): Promise<void> {
  await rows.query(
    `insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, content_type, source_id,
                        delivery_count, received_at)
     select id, tenant_id, id::text, event_type, idempotency_key, decode(payload, 'hex'), content_type, source_id,
            deliveries, to_timestamp(at / 1000.0)
     from json_to_recordset($1) as e(id uuid, tenant_id uuid, event_type text, idempotency_key text, payload text,
                                     content_type text, source_id uuid, deliveries int, at float8)`,
    [
      JSON.stringify(
        events.map((event) => ({
          ...event,
          payload: event.payload.toString('hex'),
          deliveries: event.deliveries.length,
        })),
      ),
    ],
  );
  await rows.query(
    `insert into idempotency_key (tenant_id, key, event_id, fingerprint)
     select tenant_id, idempotency_key, id, '\\x00' from event where id = any ($1) and idempotency_key is not null`,
    [events.map(({ id }) => id)],
  );
  const made = events.flatMap(({ deliveries }) => deliveries);
  await rows.query(
    `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, next_attempt_at,
                           last_status_code, last_error, dead_reason, dead_at, cancelled_at, completed_at, created_at)
     select d.id, d.tenant_id, d.event_id, subscription_id, d.event_type, status, case when is_open then now() end,
            last_status_code, last_error, case when status = 'dead' then 'exhausted' end,
            case when status = 'dead' then now() end, case when status = 'cancelled' then now() end,
            case when not is_open then now() end, e.received_at
     from json_to_recordset($1) as d(id uuid, tenant_id uuid, event_id uuid, subscription_id uuid, event_type text,
                                     status text, last_status_code int, last_error text)
     join event e on e.id = d.event_id
     cross join lateral (select status in ('pending', 'delivering', 'retrying') as is_open) o`,
    [JSON.stringify(made.map((row) => ({ ...row, event: undefined })))],
  );
  all = [...all, ...made].sort((a, b) => (a.id < b.id ? 1 : -1));
}

const search = (body: unknown, tenant = tenants[0]!): Promise<Answer> =>
  tenant.request('POST', '/webhooks/search', body);
const UNHURRIED = { stepsMs: 30_000, budgetMs: 30_000, countBudgetMs: 30_000, counted: 10_000 };
const limits = (changed: Partial<typeof UNHURRIED>) =>
  Object.assign(posthorn.app.get(SearchService, { strict: false }).limits, changed);

const idsOf = ({ body }: Answer): string[] => body.data.map(({ id }: { id: string }) => id);

interface Query {
  status?: string | string[];
  event_type?: string | string[];
  subscription_id?: string;
  source_id?: string;
  from?: string;
  to?: string;
  idempotency_key?: string;
  event_id?: string;
  status_code?: number | string;
  error?: string;
  payload?: typeof VALUES;
}

/** What the documentation says of each filter, without any index. */
function fits(row: Row, query: Query): boolean {
  const list = (value: string | string[] | undefined) => (value === undefined ? undefined : [value].flat());
  const at = uuidTime(row.id);
  const code = String(row.last_status_code);
  return (
    (list(query.status)?.includes(row.status) ?? true) &&
    (list(query.event_type)?.some((pattern) => matches(pattern, row.event_type)) ?? true) &&
    (query.subscription_id ?? row.subscription_id) === row.subscription_id &&
    (query.source_id ?? row.event.source_id) === row.event.source_id &&
    (query.from === undefined || at >= Date.parse(query.from)) &&
    (query.to === undefined || at < Date.parse(query.to)) &&
    (query.idempotency_key ?? row.event.idempotency_key) === row.event.idempotency_key &&
    (query.event_id ?? row.event_id) === row.event_id &&
    (query.status_code === undefined ||
      (typeof query.status_code === 'number'
        ? row.last_status_code === query.status_code
        : row.last_status_code !== null && code.startsWith(query.status_code.charAt(0)))) &&
    (query.error === undefined ||
      (row.last_error?.toLowerCase().includes(query.error.toLowerCase()) ?? false)) &&
    (query.payload?.every((value) => holds(row.event, value)) ?? true)
  );
}

function matches(pattern: string, type: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.+')}$`).test(type);
}

function holds({ payload, content_type }: Row['event'], { path, equals }: (typeof VALUES)[number]): boolean {
  if (content_type !== null && !content_type.includes('json')) return false;
  try {
    const document: unknown = JSON.parse(payload.toString('utf8'));
    return (
      path.split('.').reduce<unknown>((value, name) => {
        const isContainer = typeof value === 'object' && value !== null;
        return isContainer ? (value as Record<string, unknown>)[name] : undefined;
      }, document) === equals
    );
  } catch {
    return false;
  }
}

const anyQuery = fc.record<Query>(
  {
    status: fc.oneof(
      fc.constantFrom(...DELIVERY_STATUSES),
      fc.uniqueArray(fc.constantFrom<string>(...DELIVERY_STATUSES), { minLength: 1 }),
    ),
    event_type: fc.oneof(
      fc.constantFrom(
        ...TYPES.filter((type) => !type.includes('%')),
        'user.*',
        '*.*',
        '*',
        'order*paid',
        'none',
      ),
      fc.constant<string[]>(['user.created', '*d']),
      fc.constant<string[]>(['user', 'x', 'order_paid']),
    ),
    subscription_id: fc.integer({ min: 0, max: 4 }).map((at) => subscriptions[at] ?? uuidV7(START)),
    source_id: fc.integer({ min: 0, max: 2 }).map((at) => sources[at] ?? uuidV7(START)),
    from: fc.integer({ min: -1, max: 5 }).map((hour) => new Date(START + hour * HOUR_MS).toISOString()),
    to: fc
      .integer({ min: 6, max: 12 })
      .map((half) => new Date(START + (half * HOUR_MS) / 2 + 1).toISOString()),
    idempotency_key: fc.integer({ min: 0, max: 1_000 }).map((index) => `key-${index}`),
    event_id: fc.integer({ min: 0, max: 1_500 }).map((at) => all[at]?.event_id ?? uuidV7(START)),
    status_code: fc.constantFrom<(number | string)[]>(
      200,
      204,
      404,
      503,
      600,
      999,
      '2xx',
      '4xx',
      '5xx',
      '3xx',
      '6xx',
      '9xx',
    ),
    error: fc.constantFrom('timeout', 'HTTP', '%', '10_000', '\\', 'nothing', ' '),
    payload: fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: [] },
);

/** Most filters find nothing when there are many of them. */
const someQuery = anyQuery
  .chain((query) =>
    fc
      .shuffledSubarray(Object.keys(query), { maxLength: Math.min(3, Object.keys(query).length) })
      .map(
        (names) =>
          Object.fromEntries(Object.entries(query).filter(([name]) => names.includes(name))) as Query,
      ),
  )
  // Other queries are refused.
  .filter(({ from, to }) => from === undefined || to === undefined || from < to);

const modelOf = (query: Query, tenant: TestTenant): Row[] =>
  all.filter((row) => row.tenant_id === tenant.id && fits(row, query));

describe('a search', () => {
  it('finds what fits, of this tenant, in pages that lead there and back', async () => {
    await fc.assert(
      fc.asyncProperty(someQuery, fc.constantFrom(7, 60, 100), fc.nat(1), async (query, limit, who) => {
        const tenant = tenants[who]!;
        const expected = modelOf(query, tenant).map(({ id }) => id);
        const pages: Answer[] = [];
        let cursor: string | undefined;
        do {
          const page = await search({ ...query, limit, ...(cursor !== undefined && { cursor }) }, tenant);
          expect(page.status, page.text).toBe(200);
          expect(page.body.is_complete).toBe(true);
          pages.push(page);
          cursor = page.body.next_cursor ?? undefined;
        } while (cursor !== undefined && pages.length < 6);
        const found = pages.flatMap(idsOf);
        expect(found).toEqual(expected.slice(0, cursor === undefined ? expected.length : 6 * limit));

        let back = pages.at(-1)!.body.previous_cursor as string | null;
        for (const page of pages.slice(0, -1).reverse()) {
          const previous = await search({ ...query, limit, cursor: back }, tenant);
          expect(idsOf(previous)).toEqual(idsOf(page));
          back = previous.body.previous_cursor;
        }
        if (pages.length > 1) expect(back).toBeNull();
      }),
      { numRuns: 50 },
    );
  });

  it('counts what fits', async () => {
    await fc.assert(
      fc.asyncProperty(someQuery, fc.constantFrom('minute', 'hour', 'day'), async (query, interval) => {
        const expected = modelOf(query, tenants[0]!);
        const { aggregations } = (await search({ ...query, interval, limit: 1 })).body;
        const countBy = (keyOf: (row: Row) => string) => {
          const counts: Record<string, number> = {};
          for (const row of expected) counts[keyOf(row)] = (counts[keyOf(row)] ?? 0) + 1;
          return counts;
        };
        const step = { minute: 60_000, hour: HOUR_MS, day: 24 * HOUR_MS }[interval];
        const bars = countBy((row) => new Date(Math.floor(uuidTime(row.id) / step) * step).toISOString());
        expect(aggregations).toEqual({
          total: expected.length,
          is_exact: true,
          counted_since: null,
          by_status: countBy((row) => row.status),
          by_event_type: countBy((row) => row.event_type),
          other_event_types: 0,
          histogram: Object.entries(bars)
            .sort()
            .map(([at, count]) => ({ at, count })),
        });
      }),
      { numRuns: 50 },
    );
  });

  it('shows the delivery and what is known of its event', async () => {
    const row = modelOf({}, tenants[0]!).find(
      ({ event }) => event.source_id !== null && event.idempotency_key,
    )!;
    const { body } = await search({
      event_id: row.event_id.toUpperCase(),
      subscription_id: row.subscription_id,
    });
    const [{ event, ...hit }] = body.data;
    expect((await tenants[0]!.request('GET', `/status/delivery/${row.id}`)).body).toMatchObject(hit);
    expect(event).toEqual({
      event_id: row.event_id,
      idempotency_key: row.event.idempotency_key,
      source_id: row.event.source_id,
      content_type: row.event.content_type ?? 'application/json',
      received_at: new Date(uuidTime(row.id)).toISOString(),
    });
  });

  it('loses and repeats nothing while new deliveries arrive', async () => {
    const query = { event_type: 'arriving', limit: 3 };
    const arrive = () => write([eventOf(1, Date.now(), 'arriving', 2)]);
    for (let count = 0; count < 5; count++) await arrive();
    const atFirst = modelOf({ event_type: 'arriving' }, tenants[0]!).map(({ id }) => id);

    const pages = [await search(query)];
    while (pages.at(-1)!.body.next_cursor) {
      await arrive();
      pages.push(await search({ ...query, cursor: pages.at(-1)!.body.next_cursor }));
    }
    expect(pages.flatMap(idsOf)).toEqual(atFirst);

    const back: string[] = [];
    let cursor = pages.at(-1)!.body.previous_cursor;
    while (cursor) {
      const page = await search({ ...query, cursor });
      back.unshift(...idsOf(page));
      cursor = page.body.previous_cursor;
    }
    const expected = modelOf({ event_type: 'arriving' }, tenants[0]!).map(({ id }) => id);
    expect(back).toEqual(expected.slice(0, expected.length - idsOf(pages.at(-1)!).length));
  });
});

describe('without time', () => {
  it('says how far it came, and goes on from there until everything is found', async () => {
    limits({ stepsMs: 0, countBudgetMs: 0 });
    try {
      await fc.assert(
        fc.asyncProperty(someQuery, async (query) => {
          const found: string[] = [];
          let shortPages = 0;
          for (let cursor: string | null | undefined; cursor !== null;) {
            const page = await search({ ...query, limit: 100, ...(cursor !== undefined && { cursor }) });
            const { is_complete: isComplete, next_cursor: next, searched_to: searchedTo } = page.body;
            if (!isComplete) {
              shortPages++;
              expect(next).not.toBeNull();
              expect(idsOf(page).every((id) => uuidTime(id) >= Date.parse(searchedTo as string))).toBe(true);
            }
            found.push(...idsOf(page));
            cursor = next as string | null;
          }
          expect(found).toEqual(modelOf(query, tenants[0]!).map(({ id }) => id));
          return shortPages < 50;
        }),
        { numRuns: 25 },
      );
      const { body } = await search({ status_code: 204, payload: [{ path: 'id', equals: 3 }] });
      expect(body).toMatchObject({ is_complete: false, searched_to: expect.any(String) });
      expect(body.aggregations).toMatchObject({ is_exact: false, counted_since: body.searched_to });
    } finally {
      limits(UNHURRIED);
    }
  });

  it('counts the newest that fit, and says since when', async () => {
    limits({ counted: 300 });
    try {
      const { aggregations } = (await search({ status: 'delivered' })).body;
      expect(aggregations).toMatchObject({ is_exact: false, counted_since: expect.any(String) });
      const since = modelOf({ status: 'delivered', from: aggregations.counted_since }, tenants[0]!);
      const after = since.filter(({ id }) => uuidTime(id) > Date.parse(aggregations.counted_since));
      expect(aggregations.total).toBeGreaterThanOrEqual(300);
      expect(aggregations.total).toBeGreaterThanOrEqual(after.length);
      expect(aggregations.total).toBeLessThanOrEqual(since.length);
    } finally {
      limits(UNHURRIED);
    }
  });
});

describe('the lists', () => {
  it.each([
    '/deliveries?event_type=user.created',
    '/deliveries?status=retrying',
    '/deliveries?status=delivered&event_type=order.paid',
    '/deliveries?status=cancelled&event_type=order.paid',
  ])('GET %s has what the search finds', async (path) => {
    const query = Object.fromEntries(new URL(path, 'http://x').searchParams) as Query;
    const found: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: Answer = await tenants[0]!.request(
        'GET',
        `${path}&limit=100${cursor && `&cursor=${cursor}`}`,
      );
      found.push(...idsOf(page));
      cursor = page.body.next_cursor;
    }
    expect(found).toEqual(modelOf(query, tenants[0]!).map(({ id }) => id));
  });

  it('GET /events finds by type and by source', async () => {
    const [source] = sources;
    const found: { id: string; event_type: string }[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const path = `/events?event_type=user.created&source_id=${source}&limit=10${cursor && `&cursor=${cursor}`}`;
      const page: Answer = await tenants[0]!.request('GET', path);
      found.push(...page.body.data);
      cursor = page.body.next_cursor;
    }
    const expected = await rows.query<{ id: string }>(
      `select id from event where tenant_id = $1 and event_type = 'user.created' and source_id = $2 order by id desc`,
      [tenants[0]!.id, source],
    );
    expect(expected.length).toBeGreaterThan(10);
    expect(found.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
  });
});

it.each<[unknown, string]>([
  [{ status: 'lost' }, 'status'],
  [{ status: [] }, 'status'],
  [{ status: null }, 'status'],
  [{ status: {} }, 'status'],
  [{ event_type: 'a b' }, 'event_type'],
  [{ event_type: [] }, 'event_type'],
  [{ event_type: [1] }, 'event_type'],
  [{ event_type: Array.from({ length: 51 }, () => 'a') }, 'event_type'],
  [{ subscription_id: '1' }, 'subscription_id'],
  [{ source_id: null }, 'source_id'],
  [{ from: 'yesterday' }, 'from'],
  [{ from: '2026-02-30T00:00:00Z' }, 'from'],
  [{ from: '2026-01-02T00:00:00Z', to: '2026-01-02T00:00:00Z' }, 'to'],
  [{ idempotency_key: 'a\u0000' }, 'idempotency_key'],
  [{ event_id: 'evt_1' }, 'event_id'],
  [{ status_code: 99 }, 'status_code'],
  [{ status_code: '404' }, 'status_code'],
  [{ status_code: '0xx' }, 'status_code'],
  [{ error: '' }, 'error'],
  [{ error: 'a\u0000' }, 'error'],
  [{ error: 'x'.repeat(201) }, 'error'],
  [{ error: ['x'] }, 'error'],
  [{ payload: {} }, 'payload'],
  [{ payload: [] }, 'payload'],
  [{ payload: Array.from({ length: 6 }, () => ({ path: 'a', equals: 1 })) }, 'payload'],
  [{ payload: [1] }, 'payload'],
  [{ payload: [{ path: 'a', equals: 1 }, [{ path: 'a', equals: 1 }]] }, 'payload'],
  [{ payload: [{ path: 'a..b', equals: 1 }] }, 'payload.0.path'],
  [{ payload: [{ path: 'a', equals: {} }] }, 'payload.0.equals'],
  [{ payload: [{ path: 'a' }] }, 'payload.0.equals'],
  [{ payload: [{ path: 'a\u0000', equals: 1 }] }, 'payload.0.path'],
  [{ payload: [{ path: 'a', equals: 'b\u0000' }] }, 'payload.0.equals'],
  [{ payload: [{ path: 'a', equals: 1, or: 2 }] }, 'payload.0.or'],
  [{ interval: 'week' }, 'interval'],
  [{ limit: 0 }, 'limit'],
  [{ limit: 101 }, 'limit'],
  [{ limit: '5' }, 'limit'],
  [{ cursor: 'nonsense' }, 'cursor'],
  [{ cursor: 5 }, 'cursor'],
  [{ sort: 'asc' }, 'sort'],
])('refuses %j', async (body, path) => {
  const answer = await search(body);
  expect(answer.status, answer.text).toBe(422);
  expect(answer.body.errors).toEqual([{ path, message: expect.any(String) }]);
});

it('says of what is of the wrong type which one is right', async () => {
  const { body } = await search({ limit: '5', payload: { path: 'a', equals: 1 } });
  expect(body.errors).toEqual([
    { path: 'payload', message: 'must be a list of {path, equals}' },
    { path: 'limit', message: 'must be a whole number from 1 to 100' },
  ]);
});
