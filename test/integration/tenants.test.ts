import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TenantService } from '../../src/tenants/tenant.service.js';
import { ADMIN_KEY, client, Client, Posthorn, startPosthorn } from '../support/posthorn.js';

let posthorn: Posthorn;
let admin: Client;

beforeAll(async () => {
  posthorn = await startPosthorn();
  ({ admin } = posthorn);
});
afterAll(() => posthorn.stop());

async function query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: posthorn.databaseUrl });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

describe('creating a tenant', () => {
  it('answers with the tenant and its first key, which works', async () => {
    const { status, body } = await admin.request('POST', '/tenants', { name: 'Acme Shop' });

    expect(status).toBe(201);
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'Acme Shop',
      suspended: false,
      rate_limit: null,
      retention_hours: null,
      allowed_ips: [],
      deletion_requested_at: null,
      created_at: expect.stringMatching(/Z$/),
      updated_at: body.created_at,
      api_key: expect.stringMatching(/^ph_[A-Za-z0-9_-]{43}$/),
    });
    expect((await client(posthorn.url, body.api_key).request('GET', '/subscriptions')).status).toBe(200);
  });

  it('keeps the hash of the key and its ends, and the key nowhere', async () => {
    const { body } = await admin.request('POST', '/tenants', { name: 'Secretive' });
    const key = body.api_key as string;

    const rows = await query('select k.*, k::text as everything from api_key k where tenant_id = $1', [
      body.id,
    ]);

    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      key_hash: createHash('sha256').update(key).digest(),
      prefix: key.slice(0, 7),
      last_four: key.slice(-4),
    });
    expect(rows[0]!['everything']).not.toContain(key.slice(3));
    expect((await admin.request('GET', `/tenants/${body.id}`)).body).not.toHaveProperty('api_key');
    expect(JSON.stringify((await admin.request('GET', '/tenants')).body)).not.toContain('ph_');
  });

  it.each([
    ['no name', {}],
    ['a number', { name: 5 }],
    ['null', { name: null }],
    ['an empty name', { name: '' }],
    ['a blank name', { name: '  ' }],
    ['a long name', { name: 'x'.repeat(201) }],
    ['a NUL', { name: 'a\0b' }],
    ['a line break', { name: 'a\nb' }],
    ['half a surrogate pair', { name: 'a\ud800' }],
  ])('refuses %s', async (_, body) => {
    const answer = await admin.request('POST', '/tenants', body);

    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({ code: 'invalid_request', errors: [{ path: 'name' }] });
  });

  it('refuses unknown fields', async () => {
    const answer = await admin.request('POST', '/tenants', { name: 'A', plan: 'gold' });

    expect(answer.body).toMatchObject({
      status: 422,
      errors: [{ path: 'plan', message: expect.stringMatching(/^is not a known field; known are name, /) }],
    });
  });
});

describe('reading tenants', () => {
  it('gives one by id', async () => {
    const { body: created } = await admin.request('POST', '/tenants', { name: 'Findable' });
    const { api_key: _, ...tenant } = created;

    expect(await admin.request('GET', `/tenants/${created.id}`)).toMatchObject({ status: 200, body: tenant });
  });

  it.each(['0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e', 'no-uuid'])('knows no tenant %s', async (id) => {
    expect(await admin.request('GET', `/tenants/${id}`)).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
  });

  it('pages through all of them, newest first', async () => {
    for (const name of ['one', 'two', 'three']) await admin.request('POST', '/tenants', { name });
    const pages = await listAll('/tenants?limit=2');

    const rows = await query('select id from tenant order by id desc');
    expect(pages.map(({ id }) => id)).toEqual(rows.map(({ id }) => id));
  });

  async function listAll(path: string): Promise<{ id: string }[]> {
    const found: { id: string }[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body } = await admin.request('GET', cursor === '' ? path : `${path}&cursor=${cursor}`);
      found.push(...body.data);
      cursor = body.next_cursor;
    }
    return found;
  }
});

describe('who may manage tenants', () => {
  const routes = [
    ['POST', '/tenants'],
    ['GET', '/tenants'],
    ['GET', '/tenants/0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e'],
  ] as const;

  it.each(routes)('%s %s: nobody without a key', async (method, path) => {
    const { status, body, headers } = await posthorn.anonymous.request(method, path);

    expect({ status, code: body.code }).toEqual({ status: 401, code: 'unauthorized' });
    expect(headers['www-authenticate']).toBe('Bearer');
  });

  it.each(routes)('%s %s: not with a wrong key', async (method, path) => {
    const wrong = client(posthorn.url, `${ADMIN_KEY}x`);
    expect(await wrong.request(method, path)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  it.each(routes)('%s %s: not with the key of a tenant', async (method, path) => {
    const tenant = await posthorn.tenant();
    expect(await tenant.request(method, path)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
  });

  it('is nobody where no operator key is configured', async () => {
    const keyless = await startPosthorn({ env: { ADMIN_API_KEY: '' } });
    try {
      for (const [method, path] of routes) {
        expect(await client(keyless.url, 'any key at all').request(method, path)).toMatchObject({
          status: 403,
          body: { code: 'admin_key_not_configured' },
        });
      }
    } finally {
      await keyless.stop();
    }
  });

  it('lets an operator key do nothing else', async () => {
    expect(await admin.request('GET', '/subscriptions')).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
  });
});

describe('the first tenant', () => {
  it('is made with the given key, once', async () => {
    const fresh = await startPosthorn();
    try {
      const tenants = fresh.app.get(TenantService, { strict: false });

      expect(await tenants.createFirst('default', 'ph_kept-elsewhere')).toBe(true);
      expect(await tenants.createFirst('default', 'ph_another')).toBe(false);

      expect((await client(fresh.url, 'ph_kept-elsewhere').request('GET', '/subscriptions')).status).toBe(
        200,
      );
      expect((await client(fresh.url, 'ph_another').request('GET', '/subscriptions')).status).toBe(401);
    } finally {
      await fresh.stop();
    }
  });
});
