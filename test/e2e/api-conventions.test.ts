import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { holdingsOf } from '../support/holdings.js';
import { guardedOperations, keyed, kindOf, nameOf, type Operation, pathWith } from '../support/openapi.js';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { answersIn, sendRaw } from '../support/raw-http.js';

/** What HTTP leaves to every service to do well. Where it can, a test walks all routes of the document. */

let posthorn: Posthorn;
let tenant: TestTenant;
let operations: Operation[];
const EVENT = '{"event_type":"a","payload":1}';
const NOBODY = uuidV7(Date.now());

beforeAll(async () => {
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  operations = await guardedOperations(posthorn);
});
afterAll(() => posthorn.stop());

describe('the content type', () => {
  it.each([
    ['application/json', 202],
    ['Application/JSON', 202],
    ['application/json; charset=utf-8', 202],
    ['application/json;charset="UTF-8"', 202],
    ['application/json; charset=us-ascii', 202],
    ['application/json; profile="https://a.example/b"', 202],
    ['application/cloudevents+json', 202],
    ['application/cloudevents+json; charset=UTF-8', 202],
    ['application/vnd.acme.order.v2+json', 202],
    ['model/gltf+json', 202],
    ['application/json; charset=iso-8859-1', 415, 'iso-8859-1'],
    ['application/json; charset="UTF-16"', 415, 'UTF-16'],
    ['application/vnd.a+json; charset=Shift_JIS', 415, 'Shift_JIS'],
    ['application/jsonp', 415, 'application/json'],
    ['application/json-seq', 415, 'application/json'],
    ['text/plain', 415, 'application/json'],
    ['application/+json', 415, 'application/json'],
  ])('%s is answered with %i', async (contentType, status, said = '') => {
    const answer = await tenant.request('POST', '/events', EVENT, { 'content-type': contentType });
    expect(answer.status, answer.text).toBe(status);
    if (status === 415) expect(answer.body).toMatchObject({ code: 'unsupported_media_type' });
    expect(answer.text).toContain(said);
  });
});

describe('an empty body', () => {
  const head = ({ method, isAdmin }: Operation, path: string): string =>
    `${method} /api/v1${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n` +
    `authorization: Bearer ${isAdmin ? 'admin-key-of-the-tests' : tenant.apiKey}\r\ncontent-type: application/json\r\n`;
  const spellings: [string, string][] = [
    ['no length', '\r\n'],
    ['Content-Length: 0', 'content-length: 0\r\n\r\n'],
    ['no chunk', 'transfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
  ];

  it.each(spellings)('with %s and a Content-Type is no body where none is needed', async (_, end) => {
    const bodiless = operations.filter(({ described }) => described.requestBody?.required !== true);
    const changing = bodiless.filter(({ method }) => method !== 'GET');
    expect(changing.map(nameOf)).toEqual(
      expect.arrayContaining([
        'DELETE /subscriptions/{id}',
        'POST /subscriptions/{id}/test',
        'POST /subscriptions/{id}/rotate-secret',
        'POST /dlq/{id}/retry',
        'POST /deliveries/{id}/cancel',
      ]),
    );
    for (const operation of bodiless) {
      const [answer] = answersIn(
        await sendRaw(posthorn.url, head(operation, pathWith(operation, NOBODY)) + end),
      );
      expect([200, 404], `${nameOf(operation)}: ${answer!.body}`).toContain(answer!.status);
    }
  });

  it.each(spellings)('with %s is named where one is needed', async (_, end) => {
    for (const operation of operations.filter(({ described }) => described.requestBody?.required === true)) {
      const [answer] = answersIn(
        await sendRaw(posthorn.url, head(operation, pathWith(operation, NOBODY)) + end),
      );
      expect(answer!.status, nameOf(operation)).toBe(400);
      const problem = JSON.parse(answer!.body) as { code: string; detail: string };
      expect(problem).toMatchObject({ code: 'malformed_json' });
      expect(problem.detail).toMatch(/^The body is empty; send/);
    }
  });
});

describe('every path', () => {
  const ALL = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
  /** The methods of each path, those of other routes that it matches as well among them. */
  const methodsAt = (path: string): Set<string> => {
    const routes = operations.filter((one) => new RegExp(`^${pathWith(one, '[^/]+')}$`).test(path));
    const methods = routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    return new Set([...methods, 'OPTIONS']);
  };

  it('answers a method that it does not have with 405, and names those that it has', async () => {
    for (const path of new Set(operations.map((operation) => pathWith(operation, NOBODY)))) {
      const methods = [...methodsAt(path)].sort();
      for (const method of ALL.filter((one) => !methods.includes(one))) {
        const answer = await posthorn.anonymous.request(method, path);
        expect(answer.status, `${method} ${path}`).toBe(405);
        expect(answer.headers['allow'], `${method} ${path}`).toBe(methods.join(', '));
        if (method !== 'HEAD') expect(answer.body.code).toBe('method_not_allowed');
      }
      const asked = await posthorn.anonymous.request('OPTIONS', path);
      expect([asked.status, asked.headers['allow']]).toEqual([204, methods.join(', ')]);
    }
  });

  it('wants its key with a slash at the end as well, and gives the same', async () => {
    for (const operation of operations) {
      const path = `${pathWith(operation, NOBODY)}/`;
      const { status, body } = await posthorn.anonymous.request(operation.method, path, operation.example);
      expect([status, body.code], nameOf(operation)).toEqual([401, 'unauthorized']);
      if (operation.method !== 'GET') continue;
      const client = keyed(operation, posthorn, tenant);
      const [plain, slashed] = [
        await client.request('GET', path.slice(0, -1)),
        await client.request('GET', path),
      ];
      expect(slashed.status, nameOf(operation)).toBe(plain.status);
    }
  });

  it.each(['/', '/ready/', '/docs/', '/docs-json/'])('has %s for everybody', async (path) => {
    expect((await posthorn.anonymous.request('GET', path)).status).toBe(200);
  });

  it('leads nowhere as before where there is none, and says so within bounds', async () => {
    const answer = await posthorn.anonymous.request('GET', `/${'a/'.repeat(4_000)}`);
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(answer.text.length).toBeLessThan(1_000);
  });
});

it('says at / what it is and where the rest is', async () => {
  const { status, body } = await posthorn.anonymous.request('GET', '/');
  expect(status).toBe(200);
  expect(body).toMatchObject({ name: 'Posthorn', api: '/api/v1' });
  for (const path of [body.docs, body.openapi, body.health] as string[]) {
    expect((await posthorn.anonymous.request('GET', path)).status, path).toBe(200);
  }
});

it('says in Location where what was made is', async () => {
  const making = operations.filter(({ described }) => '201' in described.responses);
  expect(making.map(nameOf)).toContain('POST /subscriptions');
  for (const operation of making) {
    await tenant.request('POST', '/subscriptions', { target_url: 'http://127.0.0.1:9/' });
    const owned = (await holdingsOf(tenant, operations)).set('tenant', [tenant.id]);
    const path = pathWith(operation, (parameter) => owned.get(kindOf(operation, parameter))!.at(-1)!);
    const client = keyed(operation, posthorn, tenant);
    const made = await client.request('POST', path, operation.example);
    expect(made.status, `${nameOf(operation)}: ${made.text}`).toBe(201);
    const location = String(made.headers['location']);
    expect(location.endsWith(`/${made.body.id}`), location).toBe(true);
    const found = await client.request('GET', location.replace('/api/v1', ''));
    const isOfOperator = location.includes('/api-keys/') && operation.isAdmin;
    expect(found.status, location).toBe(isOfOperator ? 405 : 200);
    if (!isOfOperator) expect(found.body.id).toBe(made.body.id);
  }
  const event = await tenant.request('POST', '/events', EVENT);
  expect(event.headers['location']).toBe(`/api/v1/events/${event.body.id}`);
});
