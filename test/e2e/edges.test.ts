import { hash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEMS, ProblemCode } from '../../src/domain/errors.js';
import { MAX_BODY_BYTES } from '../../src/http/body-limits.js';
import { startSimulator, Simulator } from '../../src/simulator/simulator.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { answersIn, openRaw, sendRaw } from '../support/raw-http.js';
import { Rows } from '../support/rows.js';

/** What reaches the API before any controller does: HTTP itself, sizes, headers of answers. */

const EVENT = '{"event_type":"a","payload":1}';

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let rows: Rows;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  rows = new Rows(posthorn.databaseUrl);
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
  await simulator.close();
});

/** POST /events with a key, so that only its form can be wrong. Ends after its head. */
function post(headers: string[], version = 'HTTP/1.1'): string {
  const common = ['connection: close', 'content-type: application/json'];
  const key = `authorization: Bearer ${tenant.apiKey}`;
  return [`POST /api/v1/events ${version}`, ...common, key, ...headers, '', ''].join('\r\n');
}
const sized = [`host: a`, `content-length: ${EVENT.length}`];
const chunked = ['host: a', 'transfer-encoding: chunked'];
const chunks = (body: string, extension = '') =>
  `${body.length.toString(16)}${extension}\r\n${body}\r\n0\r\n`;

const countEvents = async (): Promise<number> =>
  (await rows.query<{ count: number }>('select count(*)::int as count from event'))[0]!.count;

it('takes what the tables below break', async () => {
  for (const text of [post(sized) + EVENT, `${post(chunked)}${chunks(EVENT)}\r\n`]) {
    expect(await sendRaw(posthorn.url, text)).toMatch(/^HTTP\/1\.1 202 /);
  }
});

describe('a request that two servers may read differently', () => {
  it.each<[string, () => string, ProblemCode?]>([
    ['a length and chunks', () => `${post([...chunked, sized[1]!])}${chunks(EVENT)}\r\n`],
    ['chunks and a length', () => `${post([...sized, chunked[1]!])}${chunks(EVENT)}\r\n`],
    ['two lengths', () => `${post([...sized, 'content-length: 1'])}${EVENT}`],
    ['the same length twice', () => `${post([...sized, sized[1]!])}${EVENT}`],
    ['a list of lengths', () => `${post(['host: a', 'content-length: 30, 30'])}${EVENT}`],
    ['a length with a sign', () => `${post(['host: a', 'content-length: +30'])}${EVENT}`],
    ['a negative length', () => `${post(['host: a', 'content-length: -1'])}${EVENT}`],
    ['a length in hex', () => `${post(['host: a', 'content-length: 0x1e'])}${EVENT}`],
    [
      'another encoding after chunked',
      () => `${post(['host: a', 'transfer-encoding: chunked, identity'])}0\r\n\r\n`,
    ],
    ['an encoding like chunked', () => `${post(['host: a', 'transfer-encoding: xchunked'])}0\r\n\r\n`],
    [
      'another encoding before chunked',
      () => `${post(['host: a', 'transfer-encoding: gzip, chunked'])}0\r\n\r\n`,
    ],
    ['chunked twice', () => `${post([...chunked, chunked[1]!])}0\r\n\r\n`],
    ['chunks in HTTP/1.0', () => `${post(chunked, 'HTTP/1.0')}${chunks(EVENT)}\r\n`],
    ['a chunk without a size', () => `${post(chunked)}zz\r\n${EVENT}\r\n0\r\n\r\n`],
    ['a chunk ended by a bare LF', () => `${post(chunked)}1e\n${EVENT}\r\n0\r\n\r\n`],
    ['a chunk longer than its size', () => `${post(chunked)}5\r\n${EVENT}\r\n0\r\n\r\n`],
    [
      '20 KiB after a chunk size',
      () => `${post(chunked)}${chunks(EVENT, `;${'a'.repeat(20_000)}`)}\r\n`,
      'payload_too_large',
    ],
    [
      '30 KiB of trailers',
      () => `${post(chunked)}${chunks(EVENT)}${`a: ${'b'.repeat(1_000)}\r\n`.repeat(30)}\r\n`,
      'headers_too_large',
    ],
    ['a folded header', () => `${post([...sized, 'x: a', ' b'])}${EVENT}`],
    ['bare LFs', () => `${post(sized).replaceAll('\r\n', '\n')}${EVENT}`],
    ['one bare LF', () => `${post([...sized, 'x: a\ny: b'])}${EVENT}`],
    ['a bare CR', () => `${post([...sized, 'x: a\ry: b'])}${EVENT}`],
    ['a space before the colon', () => `${post([...sized, 'x : a'])}${EVENT}`],
    ['a NUL in a header', () => `${post([...sized, 'x: a\0b'])}${EVENT}`],
    ['a header without a name', () => `${post([...sized, ': a'])}${EVENT}`],
    ['two hosts', () => `${post([...sized, 'HOST: b'])}${EVENT}`],
    ['the same host twice', () => `${post([...sized, 'host: a'])}${EVENT}`],
    ['no host', () => `${post(sized.slice(1))}${EVENT}`],
    ['HTTP/2.0', () => `${post(sized, 'HTTP/2.0')}${EVENT}`],
    ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])(
    'with %s is refused, ends its connection, and stores nothing',
    async (_, text, code = 'malformed_request') => {
      const before = await countEvents();
      const answers = answersIn(await sendRaw(posthorn.url, text()));
      expect(answers).toHaveLength(1);
      expect(answers[0]).toMatchObject({ status: PROBLEMS[code].status, headers: { connection: 'close' } });
      expect(answers[0]!.headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(JSON.parse(answers[0]!.body)).toMatchObject({ code });
      expect(await countEvents()).toBe(before);
    },
  );

  it('is never answered in the place of the one before it', async () => {
    const first = `${post(sized).replace('connection: close\r\n', '')}${EVENT}`;
    const said = await sendRaw(posthorn.url, `${first}NO HTTP\r\n\r\n`);
    expect(answersIn(said).filter(({ status }) => status === 400)).toEqual([]);
  });

  it.each([
    [
      'the host of somebody else in its target',
      'GET http://elsewhere.example/ready HTTP/1.1\r\nhost: a',
      200,
    ],
    ['HTTP/1.0', 'GET /ready HTTP/1.0', 200],
    ['HTTP/1.0 and a host', 'GET /ready HTTP/1.0\r\nhost: a', 200],
    ['an expectation that nobody knows', 'GET /ready HTTP/1.1\r\nhost: a\r\nexpect: tea', 200],
    ['an upgrade', 'GET /ready HTTP/1.1\r\nhost: a\r\nupgrade: websocket', 200],
    ['a target without a slash', 'GET ready HTTP/1.1\r\nhost: a', 400],
    ['TRACE', 'TRACE /api/v1/events HTTP/1.1\r\nhost: a', 405],
    ['CONNECT', 'CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: a', 404],
    ['OPTIONS', 'OPTIONS /api/v1/events HTTP/1.1\r\nhost: a', 204],
    ['OPTIONS for everything', 'OPTIONS * HTTP/1.1\r\nhost: a', 404],
    ['PROPFIND', 'PROPFIND /api/v1/events HTTP/1.1\r\nhost: a', 405],
    ['a method that nobody knows', 'BREW /api/v1/events HTTP/1.1\r\nhost: a', 400],
  ])('and does not need to be, with %s', async (_, head, status) => {
    const [answer, ...others] = answersIn(
      await sendRaw(posthorn.url, `${head}\r\nconnection: close\r\n\r\n`),
    );
    expect(others).toEqual([]);
    expect(answer!.status).toBe(status);
    if (status === 204) return;
    const type = status === 200 ? 'application/json' : 'application/problem+json';
    expect(answer!.headers['content-type']).toContain(type);
  });
});

it.each([
  ['gzip', 415],
  ['identity, br', 415],
  ['Identity', 202],
])('a body with the content encoding %s is answered with %i', async (encoding, status) => {
  const answer = await tenant.request('POST', '/events', EVENT, { 'content-encoding': encoding });
  expect(answer.status).toBe(status);
  if (status === 415) expect(answer.body).toMatchObject({ code: 'unsupported_media_type' });
});

it.each<[string, () => string, number[]]>([
  ['with a key is told to send its body', () => post([...sized, 'expect: 100-continue']), [100, 202]],
  [
    'without a key is not, and its connection ends',
    () => post([...sized, 'expect: 100-continue']).replace(/authorization.*\r\n|connection.*\r\n/g, ''),
    [401],
  ],
])('a client that asks first %s', async (_, head, statuses) => {
  const { socket, closed } = openRaw(posthorn.url, head());
  if (statuses[0] === 100) socket.once('data', () => socket.write(EVENT));
  expect(answersIn(await closed).map(({ status }) => status)).toEqual(statuses);
});

describe('sizes', () => {
  /** Names come again in the events of one batch. */
  const fields = (count: number, from: number) =>
    Array.from({ length: count }, (_, n) => [`field_${(from + n) % Math.max(count, 900)}`, { n }] as const);
  const get = (path: string, headers = '') =>
    `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${headers}\r\n`;

  it.each([
    ['100 headers', get('/ready', 'a: b\r\n'.repeat(98)), 200],
    ['101 headers', get('/ready', 'a: b\r\n'.repeat(99)), 431],
    ['3,000 headers, of which Node would drop some', get('/ready', 'a:\r\n'.repeat(3_000)), 431],
    ['16 KiB of headers', get('/ready', `a: ${'b'.repeat(16_500)}\r\n`), 431],
    ['16 KiB of path', get(`/ready?${'a'.repeat(16_500)}`), 431],
    ['101 parameters', get(`/api/v1/events?${'a=b&'.repeat(100)}a=b`), 422],
    ['101 parameters for the document', get(`/docs-json?${'a=b&'.repeat(100)}a=b`), 422],
  ])('of %s', async (_, text, status) => {
    expect(answersIn(await sendRaw(posthorn.url, text))[0]!.status).toBe(status);
  });

  it('of a body are small where no payload is due, and named', async () => {
    const metadata = { a: 'x'.repeat(MAX_BODY_BYTES) };
    const refused = await tenant.request('POST', '/subscriptions', {
      target_url: 'https://a.example',
      metadata,
    });
    expect(refused).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
    expect(refused.body.detail).toContain(String(MAX_BODY_BYTES));
  });

  it.each(['/events', '/events/batch', '/webhooks/ingest/ID'])(
    'of a body may be large for %s',
    async (route) => {
      const target = { target_url: `${simulator.url}/ok` };
      const { body: subscription } = await tenant.request('POST', '/subscriptions', target);
      const payload = Array.from({ length: 300_000 }, () => 1);
      const event = { event_type: 'large', payload };
      const direct = { event: 'large', data: payload };
      const body = route.endsWith('ID') ? direct : route.endsWith('batch') ? { events: [event] } : event;
      const { status, text } = await tenant.request('POST', route.replace('ID', subscription.id), body);
      expect(status, text).toBe(202);
    },
  );

  it.each<[string, () => unknown, number]>([
    [
      'a thousand events with a hundred fields each',
      () => Array.from({ length: 1_000 }, (_, n) => Object.fromEntries(fields(100, n * 7))),
      202,
    ],
    ['a member of its own for each of 500,000 things', () => Object.fromEntries(fields(500_000, 0)), 413],
    ['800,000 arrays', () => Array.from({ length: 800_000 }, () => []), 413],
    ['7 million numbers', () => Array.from({ length: 7_000_000 }, () => 1), 413],
  ])('of a batch with %s', async (_, content, status) => {
    const value = content();
    const payloads = Array.isArray(value) && value.length === 1_000 ? value : [value];
    const events = payloads.map((payload: unknown) => ({ event_type: 'large', payload }));
    const answer = await tenant.request('POST', '/events/batch', { events });
    expect(answer.status).toBe(status);
    if (status === 413) {
      expect(answer.body).toMatchObject({ code: 'payload_too_large' });
      expect(answer.body.detail).toContain('750000 strings, arrays and objects');
    }
  });

  it.each([
    ['fields', Object.fromEntries(Array.from({ length: 10_001 }, (_, index) => [`a${index}`, 1]))],
    ['elements', { event_types: Array.from({ length: 10_001 }, () => 1) }],
    ['fields of fields', { metadata: { a: Array.from({ length: 5_001 }, () => ({ b: 1 })) } }],
  ])('of a body with more than 10,000 %s are refused in a short answer', async (_, body) => {
    const { status, text } = await tenant.request('POST', '/subscriptions', body);
    expect(status).toBe(422);
    expect(JSON.parse(text)).toMatchObject({ errors: [{ path: 'body' }] });
    expect(text.length).toBeLessThan(1_000);
  });

  it('of a refusal do not grow with its mistakes', async () => {
    const names = Array.from({ length: 900 }, (_, index) => `field-${index}`);
    for (const body of [
      Object.fromEntries(names.map((name) => [name, 1])),
      Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`${index}${'x'.repeat(1_000)}`, 1])),
    ]) {
      const { status, text } = await tenant.request('POST', '/subscriptions', body);
      expect(status).toBe(422);
      expect(JSON.parse(text).errors).toHaveLength(50);
      expect(text.length).toBeLessThan(100_000);
    }
  });
});

it('refuses a member that comes twice in what it reads, and leaves those of a payload as they are', async () => {
  const target = { target_url: `${simulator.url}/ok/twice`, event_types: ['second'] };
  await tenant.request('POST', '/subscriptions', target);
  const twice = '{"event_type":"first","event_type":"second","payload":{}}';
  expect(await tenant.request('POST', '/events', twice)).toMatchObject({
    status: 422,
    body: { errors: [{ path: 'event_type', message: expect.any(String) }] },
  });
  const text = '{"event_type":"second","payload":{"a":1,"a":2}}';
  expect(await tenant.request('POST', '/events', text)).toMatchObject({ status: 202 });
  await simulator.waitFor(() => simulator.countOn('/ok/twice') === 1);
  // A payload is none of our business: it goes on as it came.
  expect(simulator.receivedOn('/ok/twice')[0]!.body.toString()).toBe('{"a":1,"a":2}');
});

describe('security headers', () => {
  const API = {
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
  };

  function expectHeaders(headers: Record<string, unknown>, what: string): void {
    expect(headers, what).toMatchObject(API);
    expect(headers['x-request-id'], what).toBeTruthy();
    for (const name of [
      'server',
      'x-powered-by',
      'strict-transport-security',
      'access-control-allow-origin',
    ]) {
      expect(headers, what).not.toHaveProperty(name);
    }
  }

  it.each([
    ['GET', '/events', undefined, 200],
    ['POST', '/events', EVENT, 202],
    ['POST', '/events', '{', 400],
    ['POST', '/events', '{}', 422],
    ['POST', '/tenants', {}, 403],
    ['GET', '/nowhere', undefined, 404],
    ['GET', '/events/%zz', undefined, 404],
    ['OPTIONS', '/events', undefined, 204],
    ['GET', '/ready', undefined, 200],
    ['GET', '/health', undefined, 200],
    ['GET', '/docs-json', undefined, 200],
  ])('are on the answer to %s %s %j (%i)', async (method, path, body, status) => {
    const answer = await tenant.request(method, path, body);
    expect(answer.status, answer.text).toBe(status);
    const docs = path === '/docs-json' ? { 'content-security-policy': API['content-security-policy'] } : {};
    expectHeaders({ ...answer.headers, ...docs }, path);
  });

  it('are on answers that no route gives', async () => {
    const longPath = `/api/v1/events/${'a'.repeat(300)}`;
    for (const text of [
      'NO HTTP\r\n\r\n',
      'CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n',
      `GET ${longPath} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
      'GET /ready HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n',
    ]) {
      expectHeaders(answersIn(await sendRaw(posthorn.url, text))[0]!.headers, text);
    }
  });

  it('let Swagger UI have its own scripts and styles, by hash where they are in the page, and nothing else', async () => {
    const { text, headers } = await posthorn.anonymous.request('GET', '/docs');
    const preset = await posthorn.anonymous.request('GET', '/docs/swagger-ui-standalone-preset.js');
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain(
      "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-hashes' 'sha256-",
    );
    expect(policy).not.toMatch(/unsafe-inline|unsafe-eval|https?:|\*/);
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY' });

    const styles = [
      ...[...text.matchAll(/<style>(.*?)<\/style>/gs)].map(([, style]) => style!),
      ...[...text.matchAll(/ style="([^"]*)"/g)].map(([, style]) => style!),
      ...[...preset.text.matchAll(/createElement\("style",null,"([^"]+)"/g)].map(([, style]) => style!),
    ];
    const allowed = [...policy.matchAll(/'sha256-([^']+)'/g)].map(([, hash]) => hash);
    expect(styles.map((style) => hash('sha256', style, 'base64')).toSorted()).toEqual(allowed.toSorted());
    for (const [script] of text.matchAll(/<script[^>]*>[^<]*/g))
      expect(script).toMatch(/ src="\.\/docs\/[^"]+">\s*$/);
    expect(text).not.toMatch(/ on\w+=|javascript:|(?:src|href)="https?:/);
  });
});

it('does not let a header into an answer through what it repeats', async () => {
  const evil = ['a b\r\nset-cookie: a=b', 'a"b', 'ä', 'a'.repeat(129), ''];
  for (const id of evil) {
    const text = `GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: ${id}\r\n\r\n`;
    const [answer] = answersIn(await sendRaw(posthorn.url, text));
    expect(answer!.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer!.headers).not.toHaveProperty('set-cookie');
  }
  for (const path of ['%0d%0aset-cookie:%20a=b', '%E2%80%A8', '%00', '%1b[31m']) {
    const { headers } = await tenant.request('GET', `/${path}`);
    expect(headers).not.toHaveProperty('set-cookie');
  }
});
