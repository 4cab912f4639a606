import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

const BODY_BYTES = 15_000_000;

let posthorn: Posthorn;
let tenant: TestTenant;
let another: TestTenant;

beforeAll(async () => {
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  another = await posthorn.tenant();
  const isReady = async () => (await posthorn.anonymous.request('GET', '/ready')).status === 200;
  await waitFor(isReady, { what: 'ready' });
});
afterAll(() => posthorn.stop());

/** The head of the answer to a request that announces a large body and sends none of it. */
function answerBeforeBody(path: string, key: string | undefined, framing: string): Promise<string> {
  const { hostname, port } = new URL(posthorn.url);
  const head = [
    `POST /api/v1${path} HTTP/1.1`,
    'host: posthorn',
    'content-type: application/json',
    framing,
    ...(key === undefined ? [] : [`authorization: Bearer ${key}`]),
  ];
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(`${head.join('\r\n')}\r\n\r\n`));
    socket.on('error', reject);
    socket.once('data', (chunk) => {
      resolve(chunk.toString());
      socket.destroy();
    });
  });
}

it.each<[string, string, () => string | undefined, number, string]>([
  ['no key', '/events/batch', () => undefined, 401, 'unauthorized'],
  ['an unknown key', '/events/batch', () => 'ph_unknown', 401, 'unauthorized'],
  ['an operator key', '/events/batch', () => ADMIN_KEY, 403, 'forbidden'],
  ['no key for tenants', '/tenants', () => undefined, 401, 'unauthorized'],
  ["a tenant's key for tenants", '/tenants', () => tenant.apiKey, 403, 'forbidden'],
  ['a path that leads nowhere', '/nowhere', () => tenant.apiKey, 404, 'not_found'],
])('refuses %s before the body is there', async (_, path, keyOf, status, code) => {
  for (const framing of [`content-length: ${BODY_BYTES}`, 'transfer-encoding: chunked']) {
    const answer = await answerBeforeBody(path, keyOf(), framing);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain(`"code":"${code}"`);
    expect(answer).toMatch(/\r\nx-request-id: /);
  }
});

describe('two keys in one request', () => {
  const both = (key: string, headers: Record<string, string>) =>
    client(posthorn.url, key).request('GET', '/subscriptions', undefined, headers);

  it.each<[string, () => string, () => string, number]>([
    ['the same', () => tenant.apiKey, () => tenant.apiKey, 200],
    ["two tenants'", () => tenant.apiKey, () => another.apiKey, 401],
    ["a tenant's and the operator's", () => tenant.apiKey, () => ADMIN_KEY, 401],
    ["the operator's and a tenant's", () => ADMIN_KEY, () => tenant.apiKey, 401],
    ['one that is known and one that is not', () => tenant.apiKey, () => 'ph_unknown', 401],
    ['one that is known and an empty one', () => tenant.apiKey, () => '', 401],
  ])('%s', async (_, bearer, apiKey, status) => {
    const answer = await both(bearer(), { 'x-api-key': apiKey() });
    expect(answer.status).toBe(status);
    if (status === 401) {
      expect(answer.body).toMatchObject({ code: 'unauthorized' });
      expect(answer.body.detail).toContain('send one of them');
    }
  });

  it('is not what credentials of another kind are, which a proxy may have asked for', async () => {
    const headers = { authorization: 'Basic YTpi', 'x-api-key': tenant.apiKey };
    expect((await client(posthorn.url).request('GET', '/subscriptions', undefined, headers)).status).toBe(
      200,
    );
  });
});

it('answers a client that sends its body regardless', async () => {
  const body = Buffer.alloc(BODY_BYTES, ' ');
  const answer = await posthorn.anonymous.request('POST', '/events/batch', body);
  expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
});

it.each(['/health', '/ready', '/metrics', '/docs', '/docs/', '/docs-json'])(
  'wants no key for %s',
  async (path) => {
    for (const method of ['GET', 'HEAD']) {
      expect((await posthorn.anonymous.request(method, path)).status, method).toBe(200);
    }
  },
);
