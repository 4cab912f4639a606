import { afterAll, beforeAll, expect, it } from 'vitest';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';

let posthorn: Posthorn;
let tenant: TestTenant;
let id: string;

beforeAll(async () => {
  posthorn = await startPosthorn({ env: { ALLOW_TARGET_RANGES: '10.1.0.0/16' } });
  tenant = await posthorn.tenant();
  id = (await tenant.request('POST', '/subscriptions', { target_url: 'https://example.com/hook' })).body.id;
});
afterAll(() => posthorn.stop());

/** A field, a value, and the path that the refusal has to name if it is not the field itself. */
const REFUSED: [field: string, value: unknown, path?: string][] = [
  ['target_url', null],
  ['target_url', 5],
  ['target_url', ''],
  ['target_url', 'example.com'],
  ['target_url', 'ftp://example.com'],
  ['target_url', 'https://user:password@example.com'],
  ['target_url', 'https://example.com/#part'],
  ['target_url', 'https://example.com/\0'],
  ['target_url', `https://example.com/${'x'.repeat(2048)}`],
  ['target_url', 'http://127.0.0.1/'],
  ['target_url', 'http://2130706433/'],
  ['target_url', 'http://[::1]:8080/'],
  ['target_url', 'http://[::ffff:169.254.169.254]/'],
  ['target_url', 'http://10.2.0.1/'],
  ['target_url', 'http://localhost/'],
  ['target_url', 'https://example.com:22/'],

  ['event_types', null],
  ['event_types', 'user.*'],
  ['event_types', {}],
  ['event_types', Array.from({ length: 101 }, (_, index) => `type.${index}`)],
  ['event_types', ['user.*', ''], 'event_types[1]'],
  ['event_types', ['a', 'b', 5], 'event_types[2]'],
  ['event_types', [['a']], 'event_types[0]'],
  ['event_types', ['user created'], 'event_types[0]'],
  ['event_types', ['x'.repeat(257)], 'event_types[0]'],
  ['event_types', ['a\0'], 'event_types[0]'],

  ['secret', null],
  ['secret', 5],
  ['secret', 'short'],
  ['secret', 'whsec_no-base64-at-all-but-long-enough'],
  ['secret', 'whsec_AAAA'],
  ['secret', 'sécret-sécret'],
  ['secret', 'enc:v2:which-looks-encrypted'],

  ['is_active', null],
  ['is_active', 'true'],
  ['is_active', 1],

  ['headers', null],
  ['headers', []],
  ['headers', 'X-A: b'],
  ['headers', Object.fromEntries(Array.from({ length: 21 }, (_, index) => [`x-${index}`, 'v']))],
  ['headers', { '': 'v' }, 'headers.'],
  ['headers', { 'x a': 'v' }, 'headers.x a'],
  ['headers', { 'x:a': 'v' }, 'headers.x:a'],
  ['headers', { 'x-é': 'v' }, 'headers.x-é'],
  ['headers', { Content_Length: '0' }, 'headers.Content_Length'],
  ['headers', { 'x-a': 5 }, 'headers.x-a'],
  ['headers', { 'x-a': null }, 'headers.x-a'],
  ['headers', { 'x-a': ['v'] }, 'headers.x-a'],
  ['headers', { 'x-a': 'v\r\nx-b: w' }, 'headers.x-a'],
  ['headers', { 'x-a': 'v\n' }, 'headers.x-a'],
  ['headers', { 'x-a': '\0' }, 'headers.x-a'],
  ['headers', { 'x-a': '\x7f' }, 'headers.x-a'],
  ['headers', { 'x-a': 'é' }, 'headers.x-a'],
  ['headers', { 'x-a': 'v'.repeat(4097) }, 'headers.x-a'],
  ['headers', { 'X-A': 'v', 'x-a': 'v' }, 'headers.x-a'],
  ['headers', { 'x-a': '***' }, 'headers.x-a'],
  ...[
    'Content-Type',
    'content-length',
    'host',
    'Connection',
    'transfer-encoding',
    'te',
    'upgrade',
    'keep-alive',
    'trailer',
    'expect',
    'User-Agent',
    'webhook-id',
    'Webhook-Other',
    'x-webhook-signature',
    'x-request-id',
    'traceparent',
    'Proxy-Authorization',
  ].map((name): [string, unknown, string] => ['headers', { [name]: 'v' }, `headers.${name}`]),

  ['retry_policy', 'eager'],
  ['retry_policy', 5],
  ['retry_policy', [1, 2]],
  ['retry_policy', { schedule: [1, -1] }, 'retry_policy.schedule[1]'],
  ['retry_policy', { schedule: [1], tries: 2 }, 'retry_policy.tries'],
  ['retry_policy', { base_seconds: 1, factor: 2, max_seconds: 9 }, 'retry_policy.max_attempts'],

  ['timeout_ms', 99],
  ['timeout_ms', 30_001],
  ['timeout_ms', 100.5],
  ['timeout_ms', '1000'],
  ['timeout_ms', true],

  ['rate_limit', 3],
  ['rate_limit', []],
  ['rate_limit', [{ limit: 3 }]],
  ['rate_limit', {}, 'rate_limit.limit'],
  ['rate_limit', { limit: 0 }, 'rate_limit.limit'],
  ['rate_limit', { limit: 100_001 }, 'rate_limit.limit'],
  ['rate_limit', { limit: '3' }, 'rate_limit.limit'],
  ['rate_limit', { limit: 3, period_seconds: 0 }, 'rate_limit.period_seconds'],
  ['rate_limit', { limit: 3, period_seconds: 86_401 }, 'rate_limit.period_seconds'],
  ['rate_limit', { limit: 3, period_seconds: null }, 'rate_limit.period_seconds'],
  ['rate_limit', { limit: 3, burst: 9 }, 'rate_limit.burst'],

  ['max_concurrency', 0],
  ['max_concurrency', 1_001],
  ['max_concurrency', '1'],

  ['description', 5],
  ['description', 'x'.repeat(1_001)],
  ['description', 'a\0b'],
  ['description', '\ud800'],

  ['metadata', null],
  ['metadata', []],
  ['metadata', 'text'],
  ['metadata', { text: 'x'.repeat(16 * 1024) }],
  ['metadata', { a: { b: ['fine', 'no\0'] } }, 'metadata.a.b[1]'],
  ['metadata', { a: { 'no\0': 1 } }, 'metadata.a'],
  ['metadata', { a: '\udc00' }, 'metadata.a'],
  ['metadata', { a: { constructor: 1 } }, 'metadata.a.constructor'],

  ['filter', {}],
  ['filter', { 'data.amount': 5 }],
  ['ordering', 'fifo'],
  ['ordering', null],

  ['id', '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e'],
  ['disabled_reason', 'mine'],
  ['unheard_of', 1],
];

it.each(REFUSED)('refuses %s: %j', async (field, value, path = field) => {
  for (const [method, url] of [
    ['POST', '/subscriptions'],
    ['PUT', `/subscriptions/${id}`],
    ['PATCH', `/subscriptions/${id}`],
  ] as const) {
    const { status, body, headers } = await tenant.request(method, url, {
      target_url: 'https://example.com/hook',
      [field]: value,
    });

    expect({ method, status, code: body.code }).toEqual({ method, status: 422, code: 'invalid_request' });
    expect(body.errors).toEqual([{ path, message: expect.stringMatching(/^\S.*\S$/) }]);
    expect(headers['content-type']).toMatch('application/problem+json');
  }
});

it('says which setting would allow a target address', async () => {
  const { body } = await tenant.request('POST', '/subscriptions', { target_url: 'http://127.1/' });

  expect(body.errors[0].message).toContain('127.0.0.1');
  expect(body.errors[0].message).toContain('ALLOW_TARGET_RANGES');
});

it('says how a secret may not begin, to rotate-secret too', async () => {
  const { body } = await tenant.request('POST', '/subscriptions', { target_url: 'https://example.com' });
  const secret = 'enc:v2:which-looks-encrypted';
  for (const [method, path] of [
    ['PATCH', `/subscriptions/${body.id}`],
    ['POST', `/subscriptions/${body.id}/rotate-secret`],
  ] as const) {
    expect(await tenant.request(method, path, { secret })).toMatchObject({
      status: 422,
      body: { errors: [{ path: 'secret', message: expect.stringContaining('not begin with enc:') }] },
    });
  }
});

it('says that filters and order are not supported yet', async () => {
  const wishes = { target_url: 'https://example.com', filter: {}, ordering: 'fifo' };
  const { body } = await tenant.request('POST', '/subscriptions', wishes);

  expect(body.errors).toEqual(
    ['filter', 'ordering'].map((path) => ({
      path,
      message: expect.stringContaining('is not supported yet'),
    })),
  );
});

function pathsOf(problem: { errors: { path: string }[] }): string[] {
  return problem.errors.map(({ path }) => path);
}

it('names every mistake at once', async () => {
  const { body } = await tenant.request('POST', '/subscriptions', {
    target_url: 'nowhere',
    event_types: ['fine', ''],
    headers: { host: 'x' },
    secret: 'short',
  });

  expect(pathsOf(body).sort()).toEqual(['event_types[1]', 'headers.host', 'secret', 'target_url']);
});

it('refuses to create a subscription without a target', async () => {
  const { status, body } = await tenant.request('POST', '/subscriptions', '{}');

  expect({ status, paths: pathsOf(body) }).toEqual({ status: 422, paths: ['target_url'] });
});

it('refuses to create a subscription without a body', async () => {
  expect(await tenant.request('POST', '/subscriptions')).toMatchObject({
    status: 400,
    body: { code: 'malformed_json', detail: expect.stringContaining('empty') },
  });
});

it.each(['null', '[]', '[{}]', '"text"', '5'])('refuses the body %s', async (text) => {
  for (const [method, url] of [
    ['POST', '/subscriptions'],
    ['PATCH', `/subscriptions/${id}`],
    ['POST', `/subscriptions/${id}/rotate-secret`],
  ] as const) {
    const { status, body } = await tenant.request(method, url, text);
    expect({ method, status, paths: pathsOf(body) }).toEqual({ method, status: 422, paths: ['body'] });
  }
});

/** The outermost values that are still good. */
const ACCEPTED: [field: string, value: unknown][] = [
  ['target_url', 'http://10.1.2.3:8080/allowed?by=range'],
  ['target_url', 'https://8.8.8.8/public'],
  ['target_url', 'http://internal/judged-when-connected'],
  ['event_types', Array.from({ length: 100 }, (_, index) => `type.${index}`)],
  ['event_types', ['*', 'user.*', '*.created']],
  ['headers', Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`X-${index}`, 'v']))],
  ['headers', { 'X-Empty': '', '9-x': ' ~' }],
  ['retry_policy', 'inbox'],
  ['retry_policy', { schedule: [] }],
  ['retry_policy', { base_seconds: 1, factor: 2, max_seconds: 9, max_attempts: 3, jitter: 0.5 }],
  ['timeout_ms', 100],
  ['timeout_ms', 30_000],
  ['rate_limit', { limit: 1, period_seconds: 86_400 }],
  ['rate_limit', { limit: 100_000, period_seconds: 1 }],
  ['max_concurrency', 1],
  ['max_concurrency', 1_000],
  ['description', 'x'.repeat(1_000)],
  ['description', 'Two\nlines, a\ttab and 🦆'],
  ['metadata', { deep: [{ a: null, b: [1.5, 'text', true] }], ключ: '🦆' }],
  ['metadata', { text: 'x'.repeat(16 * 1024 - '{"text":""}'.length) }],
];

it.each(ACCEPTED)('accepts %s: %j, and gives it back', async (field, value) => {
  const body = { target_url: 'https://example.com/hook', [field]: value };
  const created = await tenant.request('POST', '/subscriptions', body);
  const read = await tenant.request('GET', `/subscriptions/${created.body.id}`);

  expect(created.status).toBe(201);
  expect(created.body[field]).toEqual(value);
  expect(read.body[field]).toEqual(value);
});

it.each([
  'limit=0',
  'limit=101',
  'limit=many',
  'cursor=made-up',
  'is_active=maybe',
  'is_active=true&is_active=false',
  'nope=1',
])('refuses the list query %s', async (query) => {
  const { status, body } = await tenant.request('GET', `/subscriptions?${query}`);

  expect(status).toBe(422);
  expect(body.errors).toMatchObject([{ path: query.split('=')[0] }]);
});

it.each([
  ['secret', 'short'],
  ['secret', 5],
  ['secret', null],
  ['overlap_seconds', -1],
  ['overlap_seconds', 2_592_001],
  ['overlap_seconds', '60'],
  ['overlap_seconds', null],
  ['unheard_of', 1],
])('refuses to rotate with %s: %j', async (field, value) => {
  const answer = await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, { [field]: value });

  expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: field }] } });
});
