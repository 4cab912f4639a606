import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as after } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChangeFeed } from '../../src/persistence/change-feed.js';
import { Answer, client, Client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** Of a tenant, where they are made at the replica. */
const MAX_KEYS = 5;

let posthorn: Posthorn;
/** Another process on the same database. */
let replica: Posthorn;
let tenant: TestTenant;

beforeAll(async () => {
  posthorn = await startPosthorn();
  replica = await startPosthorn({
    databaseUrl: posthorn.databaseUrl,
    env: { TENANT_MAX_API_KEYS: String(MAX_KEYS) },
  });
  tenant = await posthorn.tenant();
});
afterAll(async () => {
  await replica.stop();
  await posthorn.stop();
});

const create = (fields: object): Promise<Answer> =>
  tenant.request('POST', '/api-keys', { name: 'a key', scopes: ['read'], ...fields });

/** A client with a new key. */
async function holder(fields: object): Promise<Client & { id: string; key: string }> {
  const { body } = await create(fields);
  return { id: body.id, key: body.api_key, ...client(posthorn.url, body.api_key) };
}

const statusOf = async (who: Client): Promise<number> => (await who.request('GET', '/events')).status;

async function database<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const connection = new pg.Client({ connectionString: posthorn.databaseUrl });
  await connection.connect();
  return work(connection).finally(() => connection.end());
}

describe('creating a key', () => {
  it('shows it once, and keeps its hash and its ends', async () => {
    const { status, body } = await create({ name: 'checkout', scopes: ['events:write', 'read', 'read'] });
    expect(status).toBe(201);
    const { api_key: key, ...shown } = body;
    expect(shown).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'checkout',
      scopes: ['events:write', 'read'],
      prefix: key.slice(0, 7),
      last_four: key.slice(-4),
      expires_at: null,
      last_used_at: null,
      created_at: expect.stringMatching(/Z$/),
    });
    // 256 random bits.
    expect(Buffer.from(key.slice(3), 'base64url')).toHaveLength(32);
    expect((await tenant.request('GET', `/api-keys/${body.id}`)).body).toEqual(shown);
    expect((await tenant.request('GET', '/api-keys')).text).not.toContain(key.slice(8, -4));
    const stored = await database((db) =>
      db.query('select key_hash, k::text as everything from api_key k where id = $1', [body.id]),
    );
    expect(stored.rows[0].key_hash).toEqual(createHash('sha256').update(key).digest());
    expect(stored.rows[0].everything).not.toContain(key.slice(8, -4));
  });

  it.each<[string, object, string]>([
    ['no name', { name: undefined }, 'name'],
    ['a name of line breaks', { name: 'a\nb' }, 'name'],
    ['no scopes', { scopes: undefined }, 'scopes'],
    ['an empty list of scopes', { scopes: [] }, 'scopes'],
    ['an unknown scope', { scopes: ['read', 'root'] }, 'scopes'],
    ['a scope as text', { scopes: 'read' }, 'scopes'],
    ['an expiry that has passed', { expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    ['an expiry without its time', { expires_at: '2036-01-01' }, 'expires_at'],
    ['an expiry that is no date', { expires_at: '2036-02-31T00:00:00Z' }, 'expires_at'],
    ['an expiry without its seconds', { expires_at: '2036-01-31T12Z' }, 'expires_at'],
    ['an expiry of a week', { expires_at: '2036-W05-6T12:00:00Z' }, 'expires_at'],
    ['an expiry in the basic format', { expires_at: '20360131T120000Z' }, 'expires_at'],
    ['an expiry in a year of five digits', { expires_at: '9999-12-31T23:59:59-23:59' }, 'expires_at'],
    ['an expiry as a number', { expires_at: 2_000_000_000 }, 'expires_at'],
    ['the tenant of another', { tenant_id: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' }, 'tenant_id'],
  ])('refuses %s', async (_, fields, path) => {
    const answer = await create(fields);
    expect(answer).toMatchObject({ status: 422, body: { code: 'invalid_request' } });
    expect(answer.body.errors[0].path).toBe(path);
  });
});

describe('scopes', () => {
  const subscription = { target_url: 'https://example.com/hook' };
  const event = { event_type: 'a', payload: 1 };

  it.each<[string, string[], { read: number; subscribe: number; send: number; manage: number }]>([
    ['read', ['read'], { read: 200, subscribe: 403, send: 403, manage: 403 }],
    ['subscriptions:write', ['subscriptions:write'], { read: 403, subscribe: 201, send: 403, manage: 403 }],
    ['events:write', ['events:write'], { read: 403, subscribe: 403, send: 202, manage: 403 }],
    ['admin', ['admin'], { read: 200, subscribe: 201, send: 202, manage: 200 }],
    ['two of them', ['read', 'events:write'], { read: 200, subscribe: 403, send: 202, manage: 403 }],
  ])('%s', async (_, scopes, expected) => {
    const owner = await posthorn.tenant();
    const { body } = await owner.request('POST', '/api-keys', { name: 'scoped', scopes });
    const who = client(posthorn.url, body.api_key);
    expect({
      read: (await who.request('GET', '/subscriptions')).status,
      subscribe: (await who.request('POST', '/subscriptions', { ...subscription, is_active: false })).status,
      send: (await who.request('POST', '/events', event)).status,
      manage: (await who.request('GET', '/api-keys')).status,
    }).toEqual(expected);
  });

  it('keep the values of headers from those that only read', async () => {
    const headers = { Authorization: 'Bearer a-credential', 'X-Empty': '' };
    const masked = { Authorization: '***', 'X-Empty': '***' };
    const { body } = await tenant.request('POST', '/subscriptions', {
      ...subscription,
      headers,
      is_active: false,
    });
    expect(body.headers).toEqual(headers);
    const path = `/subscriptions/${body.id}`;
    for (const [scopes, expected] of [
      [['read'], masked],
      [['read', 'events:write'], masked],
      [['read', 'subscriptions:write'], headers],
      [['admin'], headers],
    ] as const) {
      const who = await holder({ scopes });
      expect((await who.request('GET', path)).body.headers, scopes.join()).toEqual(expected);
      const { body: list } = await who.request('GET', '/subscriptions');
      expect(list.data.find(({ id }: { id: string }) => id === body.id).headers).toEqual(expected);
    }
    const writer = await holder({ scopes: ['subscriptions:write'] });
    const refused = await writer.request('PATCH', path, { headers: masked });
    expect(refused.body.errors[0].message).toContain('send the real value, or leave the header out');
    expect((await writer.request('PATCH', path, { description: 'new' })).body.headers).toEqual(headers);
  });

  it('keep secrets from those that only read', async () => {
    const { body } = await tenant.request('POST', '/subscriptions', { ...subscription, is_active: false });
    const reader = await holder({ scopes: ['read'] });
    expect((await reader.request('GET', `/subscriptions/${body.id}`)).status).toBe(200);
    expect(await reader.request('GET', `/subscriptions/${body.id}/secret`)).toMatchObject({
      status: 403,
      body: { code: 'insufficient_scope', detail: expect.stringContaining('subscriptions:write') },
    });
  });
});

describe('the end of a key', () => {
  it('comes in every process with its revocation', async () => {
    const revoked = await holder({});
    const elsewhere = client(replica.url, revoked.key);
    expect([await statusOf(revoked), await statusOf(elsewhere)]).toEqual([200, 200]);
    expect((await tenant.request('DELETE', `/api-keys/${revoked.id}`)).status).toBe(204);
    const since = performance.now();
    expect(await statusOf(revoked)).toBe(401);
    await waitFor(async () => (await statusOf(elsewhere)) === 401, { what: 'the other process to hear' });
    // It was told: by itself it would have remembered the key for a minute.
    expect(performance.now() - since).toBeLessThan(30_000);
    expect((await tenant.request('DELETE', `/api-keys/${revoked.id}`)).status).toBe(404);
    expect((await tenant.request('GET', `/api-keys/${revoked.id}`)).status).toBe(404);
  });

  it('comes when it expires', async () => {
    let expiresAt: number;
    let expiring: Awaited<ReturnType<typeof holder>>;
    let lifetimeMs = 1_500;
    do {
      expiresAt = Date.now() + lifetimeMs;
      expiring = await holder({ expires_at: new Date(expiresAt).toISOString() });
      // A slow machine needs longer to use it in time.
      lifetimeMs *= 3;
    } while ((await statusOf(expiring)) !== 200);
    await waitFor(async () => (await statusOf(expiring)) === 401, { what: 'its expiry' });
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt);
    const { body } = await tenant.request('GET', `/api-keys/${expiring.id}`);
    expect(Date.parse(body.expires_at)).toBe(expiresAt);
  });
});

describe('rotating a key', () => {
  const rotate = (id: string, body?: object) => tenant.request('POST', `/api-keys/${id}/rotate`, body);

  it('makes one like it, beside which it works on for the overlap', async () => {
    const old = await holder({ name: 'rotated', scopes: ['read'] });
    const { status, body } = await rotate(old.id, { overlap_seconds: 3_600 });
    expect(status).toBe(201);
    expect(body).toMatchObject({ name: 'rotated', scopes: ['read'], expires_at: null });
    expect(body.api_key).not.toBe(old.key);
    expect([await statusOf(old), await statusOf(client(posthorn.url, body.api_key))]).toEqual([200, 200]);
    const { body: ending } = await tenant.request('GET', `/api-keys/${old.id}`);
    const inSeconds = (Date.parse(ending.expires_at) - Date.now()) / 1_000;
    expect(inSeconds).toBeGreaterThan(3_500);
    expect(inSeconds).toBeLessThanOrEqual(3_600);
  });

  it('overlaps by a day unless told otherwise', async () => {
    const old = await holder({});
    await rotate(old.id);
    const { body } = await tenant.request('GET', `/api-keys/${old.id}`);
    expect((Date.parse(body.expires_at) - Date.now()) / 3_600_000).toBeCloseTo(24, 1);
  });

  it('ends it at once without an overlap, in every process', async () => {
    const old = await holder({});
    const elsewhere = client(replica.url, old.key);
    expect(await statusOf(elsewhere)).toBe(200);
    const { body } = await rotate(old.id, { overlap_seconds: 0 });
    expect([await statusOf(old), await statusOf(client(replica.url, body.api_key))]).toEqual([401, 200]);
    await waitFor(async () => (await statusOf(elsewhere)) === 401, { what: 'the other process to hear' });
    expect(await rotate(old.id)).toMatchObject({ status: 409, body: { code: 'conflict' } });
  });

  it('is done once: a second successor would end when the first one made the old key end', async () => {
    const old = await holder({});
    const { body } = await rotate(old.id);
    const again = await rotate(old.id, { overlap_seconds: 0 });
    expect(again).toMatchObject({ status: 409, body: { code: 'conflict' } });
    expect(again.body.detail).toContain(body.id);
    expect(await statusOf(old)).toBe(200);
    expect(await rotate(body.id)).toMatchObject({ status: 201, body: { expires_at: null } });
  });

  it('never lets the old one live longer than it was to', async () => {
    const expires_at = new Date(Date.now() + 60_000).toISOString();
    const old = await holder({ expires_at });
    const { body } = await rotate(old.id, { overlap_seconds: 3_600 });
    expect(body.expires_at).toBe(expires_at);
    expect((await tenant.request('GET', `/api-keys/${old.id}`)).body.expires_at).toBe(expires_at);
  });

  it.each([-1, 1.5, '60', 31 * 86_400])('refuses an overlap of %j', async (overlap_seconds) => {
    const old = await holder({});
    expect(await rotate(old.id, { overlap_seconds })).toMatchObject({
      status: 422,
      body: { errors: [{ path: 'overlap_seconds' }] },
    });
  });
});

describe('a key that expires', () => {
  const HOUR = 3_600_000;
  const inHours = (hours: number): string => new Date(Date.now() + hours * HOUR).toISOString();
  /** Of a key with the scope admin; `made` and `rotated` are asked for with it. */
  async function admin(expires_at: string | null) {
    const who = await holder({ scopes: ['admin'], expires_at });
    return {
      ...who,
      make: (fields: object) =>
        who.request('POST', '/api-keys', { name: 'a key', scopes: ['admin'], ...fields }),
      rotate: (id: string, body?: object) => who.request('POST', `/api-keys/${id}/rotate`, body),
    };
  }

  it.each<[string, (latest: string) => object, number]>([
    ['without an end', () => ({}), 422],
    ['without an end, in words', () => ({ expires_at: null }), 422],
    [
      'a millisecond longer',
      (latest) => ({ expires_at: new Date(Date.parse(latest) + 1).toISOString() }),
      422,
    ],
    ['as long', (latest) => ({ expires_at: latest }), 201],
    ['as long, written otherwise', (latest) => ({ expires_at: latest.replace('Z', '+00:00') }), 201],
    ['shorter', () => ({ expires_at: inHours(1) }), 201],
  ])('makes keys that end no later than it: one that lives %s', async (_, fields, expected) => {
    const latest = inHours(2);
    const { make } = await admin(latest);
    const { status, body, text } = await make(fields(latest));
    expect(status, text).toBe(expected);
    if (expected === 201) return;
    expect(body.errors).toEqual([{ path: 'expires_at', message: expect.stringContaining(latest) }]);
  });

  it('is no limit for the operator, and one that never expires is none', async () => {
    const { make } = await admin(null);
    expect((await make({ expires_at: null })).status).toBe(201);
    const fields = { name: 'of the operator', scopes: ['admin'] };
    expect((await posthorn.admin.request('POST', `/tenants/${tenant.id}/api-keys`, fields)).status).toBe(201);
  });

  it('rotates itself and what ends no later, and nothing that lives longer', async () => {
    const latest = inHours(2);
    const { id, rotate } = await admin(latest);
    const [forever, longer, shorter] = [
      await holder({}),
      await holder({ expires_at: inHours(3) }),
      await holder({ expires_at: inHours(1) }),
    ];
    for (const { id: other, ...who } of [forever, longer]) {
      const refused = await rotate(other, { overlap_seconds: 0 });
      expect(refused).toMatchObject({ status: 422, body: { errors: [{ path: 'id' }] } });
      expect(refused.body.detail).toContain(latest);
      expect(await statusOf(who)).toBe(200);
    }
    expect((await rotate(shorter.id)).status).toBe(201);
    expect(await rotate(id)).toMatchObject({ status: 201, body: { expires_at: latest } });
  });

  it('is one that was rotated too, so it cannot take back its successor', async () => {
    const old = await admin(null);
    const { body } = await old.rotate(old.id, { overlap_seconds: 600 });
    expect((await old.rotate(body.id)).status).toBe(422);
    expect((await old.make({})).status).toBe(422);
    expect(
      (await client(posthorn.url, body.api_key).request('POST', `/api-keys/${body.id}/rotate`)).status,
    ).toBe(201);
  });
});

it('tells when a key was used last', async () => {
  const own = await startPosthorn({ databaseUrl: posthorn.databaseUrl });
  const used = await holder({});
  expect(await statusOf(used)).toBe(200);
  const before = Date.now();
  expect(await statusOf(client(own.url, used.key))).toBe(200);
  // A process writes what it has noted now and then, and when it ends.
  await own.app.close();
  const { body } = await tenant.request('GET', `/api-keys/${used.id}`);
  expect(Date.parse(body.last_used_at)).toBeGreaterThanOrEqual(before);
  // And nobody was told of it.
  await allIsHeard();
  await withoutKeyLookUps(async () => expect(await statusOf(used)).toBe(200));
});

it('lets the operator make a key for a tenant that has lost its own', async () => {
  const locked = await posthorn.tenant();
  const [{ id }] = (await locked.request('GET', '/api-keys')).body.data;
  await locked.request('DELETE', `/api-keys/${id}`);
  expect(await statusOf(locked)).toBe(401);
  const fields = { name: 'a new start', scopes: ['admin'] };
  const { status, body } = await posthorn.admin.request('POST', `/tenants/${locked.id}/api-keys`, fields);
  expect(status).toBe(201);
  expect((await client(posthorn.url, body.api_key).request('GET', '/api-keys')).body.data).toEqual([
    expect.objectContaining({ id: body.id, name: 'a new start' }),
  ]);
});

it('lets the operator list and revoke the keys of a tenant', async () => {
  const owner = await posthorn.tenant();
  const { body } = await owner.request('POST', '/api-keys', { name: 'leaked', scopes: ['read'] });
  const path = `/tenants/${owner.id}/api-keys`;
  const listed = await posthorn.admin.request('GET', path);
  expect(listed.body.data.map(({ name }: { name: string }) => name)).toEqual(['leaked', 'first key']);
  expect((await posthorn.admin.request('DELETE', `/tenants/${tenant.id}/api-keys/${body.id}`)).status).toBe(
    404,
  );
  expect(await statusOf(client(posthorn.url, body.api_key))).toBe(200);
  expect((await posthorn.admin.request('DELETE', `${path}/${body.id}`)).status).toBe(204);
  expect(await statusOf(client(posthorn.url, body.api_key))).toBe(401);
  const { body: entries } = await owner.request('GET', '/audit?action=api_key.revoke');
  expect(entries.data).toMatchObject([{ actor_kind: 'operator', object_id: body.id, result: 'ok' }]);
});

it('asks no database for a key that it has seen lately', async () => {
  const warm = await holder({ scopes: ['admin'] });
  expect(await statusOf(warm)).toBe(200);
  await withoutKeyLookUps(async () => expect(await statusOf(warm)).toBe(200));
});

/** Resolves when `posthorn` has heard of all that was committed before. */
async function allIsHeard(): Promise<void> {
  const nobody = randomUUID();
  let isHeard = false;
  posthorn.app.get(ChangeFeed, { strict: false }).subscribe(
    ({ tenantId }) => (isHeard ||= tenantId === nobody),
    () => undefined,
  );
  await database((db) => db.query(`select pg_notify('posthorn_changes', 'api_key:${nobody}')`));
  await waitFor(() => isHeard, { what: 'a change' });
}

/** Meanwhile a key that has to be looked up waits, and is answered when the work has failed. */
const withoutKeyLookUps = (work: () => Promise<void>): Promise<void> =>
  database(async (db) => {
    await db.query('begin; lock table api_key, tenant in access exclusive mode');
    await Promise.race([
      work(),
      after(5_000, undefined, { ref: false }).then(() => Promise.reject(new Error('It is looked up'))),
    ]).finally(() => db.query('rollback'));
  });

describe('the number of keys of a tenant', () => {
  it('is bounded, also when many are made at once, by the tenant and by the operator', async () => {
    const crowded = await posthorn.tenant();
    const own = client(replica.url, crowded.apiKey);
    const body = { name: 'one of many', scopes: ['read'] };
    const made = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        index % 2 === 0
          ? own.request('POST', '/api-keys', body)
          : replica.admin.request('POST', `/tenants/${crowded.id}/api-keys`, body),
      ),
    );
    const count = (status: number) => made.filter((answer) => answer.status === status).length;
    // Beside the first key, which the tenant was made with.
    expect([count(201), count(409)]).toEqual([MAX_KEYS - 1, 13 - MAX_KEYS]);
    expect(made.find(({ status }) => status === 409)!.body).toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('Revoke those that are not used'),
    });

    const { id } = made.find(({ status }) => status === 201)!.body;
    expect((await own.request('POST', `/api-keys/${id}/rotate`)).status).toBe(409);
    expect((await own.request('DELETE', `/api-keys/${id}`)).status).toBe(204);
    expect((await own.request('POST', '/api-keys', body)).status).toBe(201);
    // Another tenant has its own.
    const other = client(replica.url, (await posthorn.tenant()).apiKey);
    expect((await other.request('POST', '/api-keys', body)).status).toBe(201);
  });

  it('does not count expired ones, of which as many are kept', async () => {
    const forgetful = await posthorn.tenant();
    const own = client(replica.url, forgetful.apiKey);
    for (let round = 0; round < 3; round++) {
      for (let made = 1; made < MAX_KEYS; made++) {
        const { status } = await own.request('POST', '/api-keys', { name: 'old', scopes: ['read'] });
        expect(status).toBe(201);
      }
      await database((db) =>
        db.query(`update api_key set expires_at = now() where tenant_id = $1 and name = 'old'`, [
          forgetful.id,
        ]),
      );
    }
    expect((await own.request('POST', '/api-keys', { name: 'new', scopes: ['read'] })).status).toBe(201);
    const { body } = await own.request('GET', '/api-keys?limit=100');
    expect(body.data.filter(({ name }: { name: string }) => name === 'old')).toHaveLength(MAX_KEYS);
  });
});
