import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEMS } from '../../src/domain/errors.js';
import { MAX_BODY_BYTES } from '../../src/http/body-limits.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { guardedOperations, hasParameter, keyed, nameOf, Operation, pathWith } from '../support/openapi.js';
import { Answer, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';

const MAX_PAYLOAD_BYTES = 2_048;
const MAX_BATCH_BYTES = 100_000;
const TABLES = ['tenant', 'api_key', 'subscription', 'event', 'idempotency_key', 'delivery'];
const NOBODY = '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e';

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let rows: Rows;
let subscriptionId: string;
let operations: Operation[];
let writes: Operation[];

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn({
    env: { MAX_PAYLOAD_BYTES: String(MAX_PAYLOAD_BYTES), MAX_BATCH_BYTES: String(MAX_BATCH_BYTES) },
  });
  rows = new Rows(posthorn.databaseUrl);
  tenant = await posthorn.tenant();
  operations = await guardedOperations(posthorn);
  writes = operations.filter(({ example }) => example);
  const { body } = await tenant.request('POST', '/subscriptions', {
    target_url: `${simulator.url}/ok/exact`,
  });
  subscriptionId = body.id;
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
  await simulator.close();
});

/** A refusal is a problem of RFC 9457 that names its request, and leaves nothing behind. */
function expectProblem(answer: Answer, where: string, code?: string): void {
  const what = `${where}: ${answer.status} ${answer.text.slice(0, 300)}`;
  expect(answer.status, what).toBeGreaterThanOrEqual(400);
  expect(answer.status, what).toBeLessThan(500);
  expect(answer.headers['content-type'], what).toMatch(/^application\/problem\+json/);
  if (code !== undefined) expect(answer.body.code, what).toBe(code);
  expect(answer.body, what).toMatchObject({
    type: `urn:posthorn:problem:${answer.body.code}`,
    title: PROBLEMS[answer.body.code as keyof typeof PROBLEMS].title,
    status: answer.status,
    detail: expect.any(String),
    request_id: answer.headers['x-request-id'],
  });
}

/** Where the refusal found something wrong. */
function pathsOf(refusal: { errors?: { path: string }[] }): string[] {
  return (refusal.errors ?? []).map(({ path }) => path);
}

async function counts(): Promise<Record<string, number>> {
  const each = TABLES.map((table) => `(select count(*)::int from ${table}) as ${table}`);
  return (await rows.query<Record<string, number>>(`select ${each.join(', ')}`))[0]!;
}

async function leavesNothingBehind(work: () => Promise<void>): Promise<void> {
  const before = await counts();
  await work();
  expect(await counts()).toEqual(before);
}

/** Sends the body to each route that takes one. */
function sendToAll(
  body: string | Buffer | ((operation: Operation) => string | Buffer),
  headers: Record<string, string>,
  check: (answer: Answer, operation: Operation) => void,
): Promise<void> {
  return leavesNothingBehind(async () => {
    for (const operation of writes) {
      const id = operation.isAdmin ? tenant.id : subscriptionId;
      const answer = await keyed(operation, posthorn, tenant).request(
        operation.method,
        pathWith(operation, id),
        typeof body === 'function' ? body(operation) : body,
        headers,
      );
      check(answer, operation);
    }
  });
}

const nested = (open: string, close: string, depth = 10_000): string =>
  open.repeat(depth) + close.repeat(depth);
const withMember = ({ example }: Operation, member: string): string =>
  `${JSON.stringify(example).slice(0, -1)}${Object.keys(example!).length > 0 ? ',' : ''}${member}}`;

describe('every route that takes a body', () => {
  it.each<[string, string | Buffer]>([
    ['whitespace', ' \n'],
    ['text', 'hello'],
    ['half an object', '{"a":'],
    ['two documents', '{}{}'],
    ['a trailing comma', '{"a":1,}'],
    ['a comment', '{/* a */}'],
    ['NaN', '{"payload":NaN}'],
    ['single quotes', "{'a':1}"],
    ['a raw NUL', '{"a":"\0"}'],
    ['a NUL between tokens', '{"a":\0 1}'],
    ['a raw line break in a string', '{"a":"\n"}'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0xfe, 0x22, 0x7d])],
    ['an overlong UTF-8 form', Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d])],
    ['a surrogate in UTF-8', Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])],
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le')],
    ['form data', 'event_type=a&payload=b'],
    ['10,000 arrays', nested('[', ']')],
    ['10,000 unclosed arrays', '['.repeat(10_000)],
    ['10,000 objects', nested('{"a":', '}').replace('}', '1}')],
  ])('refuses %s as malformed', async (_, body) => {
    await sendToAll(body, {}, (answer, operation) =>
      expectProblem(answer, nameOf(operation), 'malformed_json'),
    );
  });

  it.each(['payload', 'data', 'metadata'])('refuses 10,000 levels inside %s', async (field) => {
    const deep = (operation: Operation) => withMember(operation, `"${field}":${nested('[', ']')}`);
    await sendToAll(deep, {}, (answer, operation) =>
      expectProblem(answer, nameOf(operation), 'malformed_json'),
    );
  });

  it.each(['null', '[]', '[{}]', '"text"', '5', 'true', '1e999'])(
    'refuses %s instead of an object',
    async (body) => {
      await sendToAll(body, {}, (answer, operation) => {
        expectProblem(answer, nameOf(operation), 'invalid_request');
        expect(['body', 'events']).toContain(answer.body.errors[0].path);
      });
    },
  );

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/jsonp',
    'nonsense',
    ' ',
  ])('refuses the content type "%s"', async (contentType) => {
    const example = ({ example: body }: Operation) => JSON.stringify(body);
    await sendToAll(example, { 'content-type': contentType }, (answer, operation) =>
      expectProblem(answer, nameOf(operation), 'unsupported_media_type'),
    );
  });

  it.each(['surprise', '__proto__', 'constructor', 'prototype', 'toString', '\\u0000', '\\ud800', ''])(
    'refuses the unknown field "%s", and names it',
    async (field) => {
      const name = JSON.parse(`"${field}"`) as string;
      const surprising = (operation: Operation) => withMember(operation, `"${field}":{"is_active":false}`);
      await sendToAll(surprising, {}, (answer, operation) => {
        expectProblem(answer, nameOf(operation), 'invalid_request');
        const paths = pathsOf(answer.body);
        expect(paths, nameOf(operation)).toContain(name);
      });
    },
  );

  it('refuses a body beyond its limit', async () => {
    const large = (operation: Operation) =>
      withMember(operation, `"payload":"${'x'.repeat(MAX_BODY_BYTES)}"`);
    await sendToAll(large, {}, (answer, operation) =>
      expectProblem(answer, nameOf(operation), 'payload_too_large'),
    );
  });
});

describe('every route with an id', () => {
  it.each([
    ['that nobody has', NOBODY],
    ['that is no UUID', 'not-a-uuid'],
    ['of zeros', '00000000-0000-0000-0000-000000000000'],
    ['that is a number', '1'],
    ['with SQL in it', "1' or '1'='1"],
    ['with a NUL', '%00'],
    ['with a line break', '%0d%0aset-cookie:a=b'],
    ['with half an escape', '%zz'],
    ['with invalid UTF-8', '%ff'],
    ['that climbs', '..%2f..%2fhealth'],
    ['of 300 characters', 'a'.repeat(300)],
    ['of 8,000 characters', 'a'.repeat(8_000)],
    ['in braces', `{${NOBODY}}`],
  ])('does not find one %s', async (_, id) => {
    await leavesNothingBehind(async () => {
      for (const operation of operations.filter(hasParameter)) {
        const path = pathWith(operation, id.replaceAll(' ', '%20'));
        const client = keyed(operation, posthorn, tenant);
        const answer = await client.request(operation.method, path, operation.example);
        expectProblem(answer, nameOf(operation), 'not_found');
      }
    });
  });

  it('finds one in capitals', async () => {
    const { status } = await tenant.request('GET', `/subscriptions/${subscriptionId.toUpperCase()}`);
    expect(status).toBe(200);
  });
});

it('refuses methods that a path does not have', async () => {
  await leavesNothingBehind(async () => {
    const paths = new Set(operations.map((operation) => pathWith(operation, subscriptionId)));
    for (const path of paths) {
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
        if (operations.some((known) => known.method === method && pathWith(known, subscriptionId) === path))
          continue;
        // A word that another route takes for an id is none either.
        const answer = await tenant.request(method, path, method === 'GET' ? undefined : {});
        expectProblem(answer, `${method} ${path}`);
        expect([401, 403, 404, 405], `${method} ${path}`).toContain(answer.status);
      }
    }
  });
});

describe('every list', () => {
  it.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=ten', 'limit'],
    ['limit=1e400', 'limit'],
    ['limit=', 'limit'],
    ['limit=5&limit=6', 'limit'],
    ['limit[]=5', 'limit[]'],
    ['cursor=nonsense', 'cursor'],
    ['cursor=', 'cursor'],
    ['cursor=%00', 'cursor'],
    ['cursor=%ff', 'cursor'],
    [`cursor=${'a'.repeat(5_000)}`, 'cursor'],
    ['cursor=a&cursor=b', 'cursor'],
    ['surprise=1', 'surprise'],
    ['__proto__=1', '__proto__'],
    ['constructor=1', 'constructor'],
  ])('refuses ?%s', async (query, path) => {
    const lists = operations.filter(
      ({ method, described }) =>
        method === 'GET' && described.parameters?.some((parameter) => parameter.name === 'cursor'),
    );
    expect(lists.length).toBeGreaterThan(3);
    for (const operation of lists) {
      const at = pathWith(operation, subscriptionId);
      const answer = await keyed(operation, posthorn, tenant).request('GET', `${at}?${query}`);
      expectProblem(answer, nameOf(operation), 'invalid_request');
      expect(pathsOf(answer.body), nameOf(operation)).toContain(path);
    }
  });
});

it('refuses each filter of a list that has no value', async () => {
  const filters = operations
    .filter(({ method }) => method === 'GET')
    .flatMap((operation) =>
      (operation.described.parameters ?? [])
        .filter((parameter) => parameter.in === 'query')
        .map(({ name }) => ({ operation, name })),
    );
  expect(filters.map(({ name }) => name)).toEqual(expect.arrayContaining(['is_active', 'status', 'reason']));
  for (const { operation, name } of filters) {
    for (const query of [`${name}=`, name]) {
      const path = `${pathWith(operation, subscriptionId)}?${query}`;
      const answer = await keyed(operation, posthorn, tenant).request('GET', path);
      expectProblem(answer, `${nameOf(operation)}?${query}`, 'invalid_request');
      expect(pathsOf(answer.body)).toEqual([name]);
    }
  }
});

/** Members of an event, the path that the refusal names. `undefined` leaves a member out. */
const BAD_EVENTS: [members: Record<string, string | undefined>, path: string][] = [
  [{ event_type: undefined }, 'event_type'],
  [{ payload: undefined }, 'payload'],
  ...['null', '5', '""', '[]', '{}', 'true', '"a b"', '"-a"', '"a\\u0000"', '"a\\ud800"', '"ä"', '"*"'].map(
    (value): [Record<string, string>, string] => [{ event_type: value }, 'event_type'],
  ),
  [{ event_type: `"${'a'.repeat(257)}"` }, 'event_type'],
  ...['event_id', 'idempotency_key'].flatMap((field) =>
    [
      '5',
      '""',
      '[]',
      '{}',
      'true',
      '"a\\u0000"',
      '"\\n"',
      '"\\ud800"',
      '"\\udc00a"',
      `"${'a'.repeat(257)}"`,
    ].map((value): [Record<string, string>, string] => [{ [field]: value }, field]),
  ),
];

/** The text of an event, member by member, so that anything can be in it. */
function eventText(members: Record<string, string | undefined>, direct = false): string {
  const all: Record<string, string | undefined> = { event_type: '"a"', payload: '1', ...members };
  const names: Record<string, string> = direct ? { event_type: 'event', payload: 'data' } : {};
  const texts = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `"${names[name] ?? name}":${value}`);
  return `{${texts.join(',')}}`;
}

describe('an event', () => {
  it.each(BAD_EVENTS)('with %j is refused', async (members, path) => {
    await leavesNothingBehind(async () => {
      const single = await tenant.request('POST', '/events', eventText(members));
      expectProblem(single, 'single', 'invalid_request');
      expect(pathsOf(single.body)).toEqual([path]);

      const direct = await tenant.request(
        'POST',
        `/webhooks/ingest/${subscriptionId}`,
        eventText(members, true),
      );
      expectProblem(direct, 'direct', 'invalid_request');
      const directPath = path === 'event_type' ? 'event' : path === 'payload' ? 'data' : path;
      expect(pathsOf(direct.body)).toEqual([directPath]);
    });
  });

  it('that is bad spoils none of its batch', async () => {
    const key = (index: number) => `"spoil-${index}"`;
    const bad = [...BAD_EVENTS.map(([members]) => eventText(members)), '5', 'null', '[]', '"a"'];
    const events = bad.flatMap((text, index) => [
      text,
      eventText({ payload: String(index), event_id: key(index) }),
    ]);
    const before = await counts();
    const results = [];
    for (const half of [events.slice(0, 40), events.slice(40)]) {
      const answer = await tenant.request('POST', '/events/batch', `{"events":[${half.join(',')}]}`);
      expect(answer.status, answer.text).toBe(202);
      expect(answer.body.results).toHaveLength(half.length);
      results.push(...(answer.body.results as { index: number; status: string; error: object }[]));
    }
    for (const [place, { index, status, error }] of results.entries()) {
      if (place % 2 === 1) {
        expect(status).toBe('accepted');
        continue;
      }
      const path = BAD_EVENTS[place / 2]?.[1];
      expect({ status, ...error }).toMatchObject({ status: 'rejected', code: 'invalid_request' });
      expect(pathsOf(error)).toEqual([path === undefined ? `events[${index}]` : `events[${index}].${path}`]);
    }
    expect((await counts())['event']).toBe(before['event']! + bad.length);
  });

  it('with another Idempotency-Key header than its own key is refused', async () => {
    for (const header of ['other', 'x'.repeat(257), '']) {
      const answer = await tenant.request('POST', '/events', eventText({ idempotency_key: '"key"' }), {
        'idempotency-key': header,
      });
      expectProblem(answer, header, 'invalid_request');
      expect(answer.body.errors[0].path).toBe('Idempotency-Key');
    }
  });

  it('is accepted up to the greatest payload, and no byte beyond', async () => {
    const payload = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`;
    for (const route of ['/events', `/webhooks/ingest/${subscriptionId}`]) {
      const send = (bytes: number) =>
        tenant.request('POST', route, eventText({ payload: payload(bytes) }, route !== '/events'));
      expect((await send(MAX_PAYLOAD_BYTES)).status).toBe(202);
      const answer = await send(MAX_PAYLOAD_BYTES + 1);
      expectProblem(answer, route, 'payload_too_large');
      expect(answer.body.errors).toHaveLength(1);
    }
    const batch = await tenant.request(
      'POST',
      '/events/batch',
      `{"events":[${[MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1].map((bytes) => eventText({ payload: payload(bytes) })).join(',')}]}`,
    );
    expect(batch.body.results).toMatchObject([
      { status: 'accepted' },
      { status: 'rejected', error: { code: 'payload_too_large', errors: [{ path: 'events[1].payload' }] } },
    ]);
  });

  it.each([
    ['no events', '{}'],
    ['null', '{"events":null}'],
    ['an object', '{"events":{}}'],
    ['an empty list', '{"events":[]}'],
    ['1,001 events', `{"events":[${'1,'.repeat(1_000)}1]}`],
    ['another field', '{"events":[1],"surprise":1}'],
  ])('batch with %s is refused', async (_, body) => {
    await leavesNothingBehind(async () => {
      const answer = await tenant.request('POST', '/events/batch', body);
      expectProblem(answer, 'batch', 'invalid_request');
      expect(['events', 'surprise']).toContain(answer.body.errors[0].path);
    });
  });

  it('batch with an Idempotency-Key header is refused, since each event has a key of its own', async () => {
    await leavesNothingBehind(async () => {
      for (const header of ['key', '']) {
        const body = `{"events":[${eventText({})}]}`;
        const answer = await tenant.request('POST', '/events/batch', body, { 'idempotency-key': header });
        expectProblem(answer, 'batch', 'invalid_request');
        expect(pathsOf(answer.body)).toEqual(['Idempotency-Key']);
      }
    });
  });

  it('batch beyond its bytes is refused whole', async () => {
    await leavesNothingBehind(async () => {
      const events = Array.from({ length: 60 }, () => eventText({ payload: `"${'x'.repeat(2_000)}"` }));
      const answer = await tenant.request('POST', '/events/batch', `{"events":[${events.join(',')}]}`);
      expectProblem(answer, 'batch', 'payload_too_large');
    });
  });
});

describe('a subscription', () => {
  it.each([
    ['metadata', '{"a":{"constructor":1}}', 'metadata.a.constructor'],
    ['metadata', '{"list":[{"__proto__":1}]}', 'metadata.list.0.__proto__'],
    ['headers', '{"constructor":"a"}', 'headers.constructor'],
    ['headers', '{"__proto__":"a"}', 'headers.__proto__'],
    ['rate_limit', '{"limit":1,"__proto__":{"limit":2}}', 'rate_limit.__proto__'],
    ['rate_limit', '{"limit":1e999}', 'rate_limit.limit'],
    ['timeout_ms', '1e999', 'timeout_ms'],
    ['retry_policy', '{"schedule":[1e999]}', 'retry_policy.schedule[0]'],
  ])('with %s %s is refused', async (field, value, path) => {
    await leavesNothingBehind(async () => {
      const body = `{"target_url":"https://example.com","${field}":${value}}`;
      const answer = await tenant.request('POST', '/subscriptions', body);
      expectProblem(answer, 'create', 'invalid_request');
      expect(pathsOf(answer.body)).toEqual([path]);
    });
  });
});

it('answers bytes that are not HTTP, and lives on', async () => {
  const { hostname, port } = new URL(posthorn.url);
  for (const bytes of ['\0\0\0\0\r\n\r\n', `GET / HTTP/1.1\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`]) {
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(Number(port), hostname, () => socket.write(bytes));
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d |^$/);
  }
  expect((await posthorn.anonymous.request('GET', '/health')).status).toBe(200);
});
