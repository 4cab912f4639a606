import { hash } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_KEY, client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { execute } from '../support/database.js';
import { answersIn, sendRaw } from '../support/raw-http.js';

const ALICE = 'b7c2e91f04d86a35-alice';
const BOB = '5d10f3c8e2a7496b-bob';
const FAR = '91ae7f2c60d4b358-far';
const FAILURES_PER_MINUTE = 25;
const GUESSES = 3_000;

let posthorn: Posthorn;
let tenant: TestTenant;
beforeAll(async () => {
  posthorn = await startPosthorn({
    env: {
      ADMIN_API_KEYS: `alice=${ALICE}, bob=sha256:${hash('sha256', BOB)}, far=${FAR} 192.0.2.0/24`,
      ADMIN_ALLOWED_IPS: '127.0.0.0/8',
      AUTH_FAILURES_PER_MINUTE: String(FAILURES_PER_MINUTE),
    },
  });
  tenant = await posthorn.tenant();
});
afterAll(() => posthorn.stop());

/** A request from that address of this machine. */
function from(
  localAddress: string,
  path: string,
  headers: Record<string, string>,
  url = posthorn.url,
): Promise<{ status: number; retryAfter: number; body: any }> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/api/v1${path}`, { localAddress, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () =>
        resolve({
          status: answer.statusCode!,
          retryAfter: Number(answer.headers['retry-after']),
          body: JSON.parse(text),
        }),
      );
    });
    sent.on('error', reject);
    sent.end();
  });
}
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

it.each([
  ['admin', ADMIN_KEY],
  ['alice', ALICE],
  ['bob', BOB],
])('takes the key of %s, and says its name in the audit log, to operators alone', async (name, key) => {
  const created = await client(posthorn.url, key).request('POST', '/tenants', { name: `made by ${name}` });
  expect(created.status).toBe(201);
  const entriesFor = async (reader: string) =>
    (await client(posthorn.url, reader).request('GET', '/audit?action=tenant.create&limit=1')).body.data;
  expect(await entriesFor(key)).toMatchObject([{ actor_kind: 'operator', actor_name: name }]);
  expect(await entriesFor(created.body.api_key)).toMatchObject([
    { actor_kind: 'operator', actor_name: null, ip: null },
  ]);
});

it('takes no key from where it may not be used, and names it', async () => {
  const answer = await client(posthorn.url, FAR).request('GET', '/tenants');
  expect(answer).toMatchObject({ status: 403, body: { code: 'ip_not_allowed' } });
  expect(answer.body.detail).toContain('"far" may not be used from 127.0.0.1');
});

describe('a key that is wrong', () => {
  const expired = async (): Promise<string> => {
    const { body } = await tenant.request('POST', '/api-keys', { name: 'short-lived', scopes: ['read'] });
    await execute(
      posthorn.databaseUrl,
      `update api_key set expires_at = '2026-01-02T03:04:05Z' where id = '${String(body.id)}'`,
    );
    return body.api_key;
  };
  const revoked = async (): Promise<string> => {
    const { body } = await tenant.request('POST', '/api-keys', { name: 'revoked', scopes: ['read'] });
    await tenant.request('DELETE', `/api-keys/${String(body.id)}`);
    return body.api_key;
  };

  it.each<[string, string, () => string | Promise<string>, number, RegExp]>([
    ['unknown', '/events', () => `ph_${'x'.repeat(43)}`, 401, /is not known here/],
    ['cut off', '/events', () => tenant.apiKey.slice(0, 30), 401, /has 30 characters.*have 46/],
    ['revoked', '/events', revoked, 401, /is not known here.*revoked/],
    ['expired', '/events', expired, 401, /has expired, at 2026-01-02T03:04:05\.000Z/],
    [
      "a tenant's for the operator's routes",
      '/tenants',
      () => tenant.apiKey,
      403,
      /tenant's API key; only an operator key/,
    ],
    [
      "an operator's for a tenant's routes",
      '/events',
      () => ALICE,
      403,
      /operator key; use an API key of the tenant/,
    ],
  ])('is told so: %s', async (_, path, keyOf, status, detail) => {
    const answer = await from('127.0.0.3', path, bearer(await keyOf()));
    expect(answer.status).toBe(status);
    expect(answer.body.detail).toMatch(detail);
  });
});

it.each(['Authorization: Bearer ', 'X-API-Key: '])(
  'refuses two different headers "%s", of which Node shows one',
  async (name) => {
    const head = [
      'GET /api/v1/subscriptions HTTP/1.1',
      'host: posthorn',
      'connection: close',
      `${name}${tenant.apiKey}`,
      `${name}${ALICE}`,
    ];
    const said = await sendRaw(posthorn.url, `${head.join('\r\n')}\r\n\r\n`);
    expect(answersIn(said)).toMatchObject([
      { status: 401, body: expect.stringContaining('send one of them') },
    ]);
  },
);

describe('guesses from one address', () => {
  it.each(['/tenants', '/events'])('are soon refused on %s, and right keys are not', async (path) => {
    const attacker = path === '/tenants' ? '127.0.0.4' : '127.0.0.5';
    const right = path === '/tenants' ? ALICE : tenant.apiKey;
    // Somebody behind the same address, who has used the key before.
    expect((await from(attacker, path, bearer(right))).status).toBe(200);
    const counts = new Map<number, number>();
    for (let sent = 0; sent < GUESSES; sent += 100) {
      const batch = Array.from({ length: 100 }, (_, index) =>
        from(attacker, path, bearer(`guess-${sent + index}-of-a-key`)),
      );
      for (const { status, retryAfter } of await Promise.all(batch)) {
        counts.set(status, (counts.get(status) ?? 0) + 1);
        if (status === 429) expect(retryAfter).toBeGreaterThanOrEqual(1);
      }
    }
    expect([...counts.keys()].sort()).toEqual([401, 429]);
    // What flows in during the test is a fraction of a guess for each second.
    expect(counts.get(429)).toBeGreaterThan(GUESSES - 200);
    expect((await from(attacker, path, bearer(right))).status).toBe(200);
    expect((await from('127.0.0.6', path, bearer(right))).status).toBe(200);
  });

  it('of strangers from many addresses hold up no operator from ADMIN_ALLOWED_IPS', async () => {
    const guarded = await startPosthorn({
      databaseUrl: posthorn.databaseUrl,
      env: { ADMIN_ALLOWED_IPS: '127.0.1.0/24', AUTH_FAILURES_PER_MINUTE: String(FAILURES_PER_MINUTE) },
    });
    try {
      const ask = (address: string, key: string) => from(address, '/tenants', bearer(key), guarded.url);
      const guesses = Array.from({ length: 12 * FAILURES_PER_MINUTE }, (_, index) =>
        ask(`127.0.0.${10 + (index % 12)}`, `guess-${index}-of-a-key`),
      );
      await Promise.all(guesses);
      expect((await ask('127.0.0.99', ADMIN_KEY)).status).toBe(429);
      expect((await ask('127.0.1.1', ADMIN_KEY)).status).toBe(200);
    } finally {
      await guarded.stop();
    }
  });

  it('are counted, and logged without the key', async () => {
    const { text } = await posthorn.admin.request('GET', '/metrics');
    expect(text).toMatch(/webhook_rate_limit_hits_total\{limit="auth"\} \d{4}/);
  });
});
