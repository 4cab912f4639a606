import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KeyRing, type SealedSecret, UndecryptableSecret } from '../../src/domain/encryption.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { protectSecrets, reencryptSecrets } from '../../src/persistence/secrets-at-rest.js';
import { type Source, SourceCache } from '../../src/persistence/source-cache.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { type Answer, client, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const GIVEN = 'a secret of the provider';
const OTHER = 'another secret of the provider';

let posthorn: Posthorn;
let rows: Rows;
let tenant: TestTenant;

beforeAll(async () => {
  posthorn = await startPosthorn();
  rows = new Rows(posthorn.databaseUrl);
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
});
beforeEach(async () => {
  tenant = await posthorn.tenant();
});

const post = (body: unknown, by: TestTenant = tenant): Promise<Answer> =>
  by.request('POST', '/sources', body);

async function make(provider: string, more: Record<string, unknown> = {}): Promise<any> {
  const { status, body, text } = await post({ name: 'one', provider, ...more });
  expect(status, text).toBe(201);
  return body;
}

const foundBy = async (service: Posthorn, id: string): Promise<Source | undefined> =>
  service.app.get(SourceCache).find(id);

/** @returns the paths at fault */
function expectInvalid({ status, body, text }: Answer): string[] {
  expect([status, body?.code], text).toEqual([422, 'invalid_request']);
  return body.errors.map(({ path }: { path: string }) => path);
}

describe('a source', () => {
  it('is made, shown, changed and deleted', async () => {
    const { secret, ...shown } = await make('github');
    expect(secret).toMatch(/^phs_[\w-]{43}$/);
    expect(shown).toEqual({
      id: expect.any(String),
      tenant_id: tenant.id,
      name: 'one',
      provider: 'github',
      settings: {},
      receive_url: `/api/v1/webhooks/receive/${shown.id}`,
      is_active: true,
      allowed_ips: [],
      description: null,
      previous_secret_expires_at: null,
      created_at: expect.any(String),
      updated_at: expect.any(String),
    });
    const path = `/sources/${shown.id}`;
    expect((await tenant.request('GET', path)).body).toEqual(shown);
    expect((await tenant.request('GET', '/sources')).body).toEqual({ data: [shown], next_cursor: null });

    const changes = { name: 'two', is_active: false, allowed_ips: ['10.0.0.0/8'], description: 'of GitHub' };
    const changed = await tenant.request('PATCH', path, changes);
    expect(changed.body).toEqual({ ...shown, ...changes, updated_at: expect.any(String) });
    expect(Date.parse(changed.body.updated_at)).toBeGreaterThan(Date.parse(shown.updated_at));
    const { body: again } = await tenant.request('PATCH', path, { description: null });
    expect(again).toMatchObject({ ...changes, description: null });

    expect((await tenant.request('DELETE', path)).status).toBe(204);
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      const body = method === 'PATCH' ? {} : undefined;
      expect((await tenant.request(method, path, body)).body.code, method).toBe('not_found');
    }
    expect((await tenant.request('GET', '/sources')).body.data).toEqual([]);
  });

  it('is listed newest first, page by page', async () => {
    const made = [await make('github'), await make('gitlab'), await make('bearer')].map(({ id }) => id);
    const { body: first } = await tenant.request('GET', '/sources?limit=2');
    const { body: second } = await tenant.request('GET', `/sources?limit=2&cursor=${first.next_cursor}`);
    expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(made.toReversed());
    expect(second.next_cursor).toBeNull();
  });

  it("is nobody's but its tenant's", async () => {
    const { id } = await make('github');
    const stranger = await posthorn.tenant();
    for (const [method, path, body] of [
      ['GET', `/sources/${id}`, undefined],
      ['PATCH', `/sources/${id}`, { name: 'mine' }],
      ['DELETE', `/sources/${id}`, undefined],
      ['POST', `/sources/${id}/rotate-secret`, {}],
    ] as const) {
      expect((await stranger.request(method, path, body)).status, method).toBe(404);
    }
    expect((await stranger.request('GET', '/sources')).body.data).toEqual([]);
    expect((await tenant.request('GET', `/sources/${id}`)).body.name).toBe('one');
  });

  it('has an address behind PUBLIC_URL, where there is one, and Twilio signs that', async () => {
    const twilio = { provider: 'twilio', secret: GIVEN };
    expect(expectInvalid(await post({ name: 'one', ...twilio }))).toEqual(['settings.url']);
    const named = await startPosthorn({
      databaseUrl: posthorn.databaseUrl,
      env: { PUBLIC_URL: 'https://hooks.example.com/in/' },
    });
    try {
      const { status, body } = await client(named.url, tenant.apiKey).request('POST', '/sources', {
        name: 'one',
        ...twilio,
      });
      expect(status).toBe(201);
      expect(body.receive_url).toBe(`https://hooks.example.com/in/api/v1/webhooks/receive/${body.id}`);
    } finally {
      await named.stop();
    }
  });
});

describe('what it is made with', () => {
  it.each([
    ['github', {}],
    ['gitlab', {}],
    ['shopify', {}],
    ['stripe', { tolerance_seconds: 600 }],
    ['slack', { tolerance_seconds: 60 }],
    ['twilio', { url: 'https://example.com/twilio?a=b', event_type_field: 'Kind' }],
    ['standard-webhooks', { tolerance_seconds: 300, event_type_prefix: 'billing' }],
    ['svix', { event_type_prefix: 'clerk' }],
    [
      'hmac',
      {
        algorithm: 'sha512',
        header: 'X-Signature',
        encoding: 'base64',
        prefix: 'v1=',
        signed: 'timestamp.body',
        timestamp_header: 'X-Timestamp',
        tolerance_seconds: 300,
        event_type_header: 'X-Event',
        event_type_field: 'data.type',
        event_type_prefix: 'erp',
        delivery_id_header: 'X-Id',
        delivery_id_field: 'data.id',
      },
    ],
    ['bearer', { header: 'X-Token' }],
    ['basic', { username: 'erp' }],
    ['posthorn', {}],
  ])('of %s is kept as it was given', async (provider, settings) => {
    const secret = GIVEN.replaceAll(' ', '-');
    const made = await make(provider, { settings, secret });
    expect(made).toMatchObject({ provider, settings, secret });
    const source = await foundBy(posthorn, made.id);
    expect(source).toMatchObject({ tenantId: tenant.id, provider, settings, allowedIps: null });
    expect(source!.secrets(Date.now())).toEqual([secret]);
  });

  const hmac = { name: 'one', provider: 'hmac' };
  it.each<[unknown, string[]]>([
    [{}, ['name', 'provider']],
    [{ ...hmac, name: '' }, ['name']],
    [{ ...hmac, name: 'a\u0000b' }, ['name']],
    [{ ...hmac, provider: 'bitbucket' }, ['provider']],
    [{ ...hmac, receive_url: 'https://example.com' }, ['receive_url']],
    [{ ...hmac, description: 'a\u0000b' }, ['description']],
    [{ ...hmac, is_active: null }, ['is_active']],
    [{ ...hmac, allowed_ips: null }, ['allowed_ips']],
    [{ ...hmac, allowed_ips: ['10.0.0.0/8', '10.1.2.3/8'] }, ['allowed_ips[1]']],
    [{ ...hmac, secret: 'short' }, ['secret']],
    [{ ...hmac, secret: 'fifteen letters' }, ['secret']],
    [{ name: 'one', provider: 'gitlab', secret: 'whsec_!!!!' }, ['secret']],
    [{ name: 'one', provider: 'gitlab', secret: 'whsec_!!!!!!!!!!!!!!!!' }, ['secret']],
    [{ ...hmac, secret: null }, ['secret']],
    [{ ...hmac, secret: `${GIVEN}\u0000` }, ['secret']],
    [{ ...hmac, secret: 'a'.repeat(257) }, ['secret']],
    [{ ...hmac, settings: null }, ['settings']],
    [{ ...hmac, settings: [] }, ['settings']],
    [{ ...hmac, settings: { unheard_of: 1 } }, ['settings.unheard_of']],
    [{ ...hmac, settings: { algorithm: 'md5', header: 'a b' } }, ['settings.algorithm', 'settings.header']],
    [{ ...hmac, settings: { signed: 'timestamp.body' } }, ['settings.timestamp_header']],
    [{ ...hmac, settings: { event_type_field: 'a\u0000' } }, ['settings.event_type_field']],
    [{ name: 'one', provider: 'github', settings: { header: 'x-a' } }, ['settings.header']],
    [{ name: 'one', provider: 'basic' }, ['settings.username']],
    [{ name: 'one', provider: 'bearer', secret: 'two words' }, ['secret']],
    [
      { name: 'one', provider: 'stripe', settings: { tolerance_seconds: 0 } },
      ['settings.tolerance_seconds', 'secret'],
    ],
  ])('is refused where it is wrong: %j', async (body, paths) => {
    expect(expectInvalid(await post(body))).toEqual(paths);
  });

  it('says of a name that is none what one is', async () => {
    const { body } = await post({ provider: 'github', allowed_ips: '10.0.0.0/8' });
    expect(body.errors).toEqual([
      { path: 'name', message: 'must be a string of 1 to 200 characters' },
      { path: 'allowed_ips', message: 'must be a list of CIDRs' },
    ]);
  });

  it.each(['stripe', 'shopify', 'slack', 'twilio', 'svix'])(
    'has to have the secret that %s has chosen, and says where it is found',
    async (provider) => {
      const fields = {
        name: 'one',
        provider,
        settings: provider === 'twilio' ? { url: 'https://a.b/c' } : {},
      };
      const refused = await post(fields);
      expect(expectInvalid(refused)).toEqual(['secret']);
      expect(refused.body.errors[0].message).toMatch(
        /^must be given: .* chooses it\. Take the .*[sS]e?cret|Token/,
      );
      const { id } = await make(provider, { ...fields, secret: GIVEN });
      expect(expectInvalid(await tenant.request('POST', `/sources/${id}/rotate-secret`, {}))).toEqual([
        'secret',
      ]);
    },
  );

  it.each([
    ['github', /^phs_/],
    ['gitlab', /^phs_/],
    ['hmac', /^phs_/],
    ['bearer', /^phs_/],
    ['basic', /^phs_/],
    ['posthorn', /^phs_/],
    ['standard-webhooks', /^whsec_/],
  ])('has a secret of its own each time for %s', async (provider, form) => {
    const settings = provider === 'basic' ? { username: 'erp' } : {};
    const { id, secret } = await make(provider, { settings });
    const { body: rotated } = await tenant.request('POST', `/sources/${id}/rotate-secret`);
    for (const made of [secret, rotated.secret]) expect(made).toMatch(form);
    expect(rotated.secret).not.toBe(secret);
  });

  it('is checked when it changes, under the rules of its provider', async () => {
    const { id } = await make('basic', { settings: { username: 'erp' } });
    const path = `/sources/${id}`;
    expect(expectInvalid(await tenant.request('PATCH', path, { settings: {} }))).toEqual([
      'settings.username',
    ]);
    expect(expectInvalid(await tenant.request('PATCH', path, { provider: 'hmac' }))).toEqual(['provider']);
    expect(expectInvalid(await tenant.request('PATCH', path, { secret: GIVEN }))).toEqual(['secret']);
    expect(expectInvalid(await tenant.request('PATCH', path, { name: null }))).toEqual(['name']);
    const { body } = await tenant.request('PATCH', path, { settings: { username: 'crm' } });
    expect(body.settings).toEqual({ username: 'crm' });
  });
});

describe('of sources a tenant may have', () => {
  it('a hundred', async () => {
    await rows.query(
      `insert into source (id, tenant_id, name, provider, settings, secret, is_active, allowed_ips)
       select gen_random_uuid(), $1, 'one', 'github', '{}', 'a secret', true, '{}' from generate_series(1, 99)`,
      [tenant.id],
    );
    await make('github');
    const refused = await post({ name: 'one', provider: 'github' });
    expect([refused.status, refused.body.code], refused.text).toEqual([409, 'conflict']);
    expect((await post({ name: 'one', provider: 'github' }, await posthorn.tenant())).status).toBe(201);
  });

  it('one for POST /webhooks/ingest, also of several made at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => post({ name: 'one', provider: 'posthorn' })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409]);
    const { id, receive_url } = answers.find(({ status }) => status === 201)!.body;
    expect(receive_url).toBe('/api/v1/webhooks/ingest');
    await tenant.request('DELETE', `/sources/${id}`);
    await make('posthorn');
  });
});

describe('the secret of a source', () => {
  it('is shown when it is made, and never again', async () => {
    const made = await make('hmac', { secret: GIVEN });
    const path = `/sources/${made.id}`;
    const { body: rotated } = await tenant.request('POST', `${path}/rotate-secret`, { secret: OTHER });
    expect([made.secret, rotated.secret]).toEqual([GIVEN, OTHER]);
    for (const answer of [
      await tenant.request('GET', path),
      await tenant.request('GET', '/sources'),
      await tenant.request('PATCH', path, { name: 'two' }),
      await tenant.request('GET', '/audit'),
    ]) {
      expect(answer.status, answer.text).toBe(200);
      for (const secret of [GIVEN, OTHER]) expect(answer.text).not.toContain(secret);
    }
    expect((await tenant.request('GET', `${path}/secret`)).status).toBe(404);
  });

  it('is stored encrypted, for its own row alone', async () => {
    const [one, two] = [await make('hmac', { secret: GIVEN }), await make('hmac', { secret: OTHER })];
    const [row] = await rows.query<{ secret: SealedSecret }>('select secret from source where id = $1', [
      one.id,
    ]);
    const owner = { table: 'source', tenantId: tenant.id, id: one.id };
    const keys = KeyRing.parse(ENCRYPTION_KEY);
    expect(row!.secret).toMatch(/^enc:v1:/);
    expect(keys.decrypt(row!.secret, owner)).toBe(GIVEN);
    expect(() => keys.decrypt(row!.secret, { ...owner, table: 'subscription' })).toThrow(UndecryptableSecret);

    await rows.query('update source set secret = $1 where id = $2', [row!.secret, two.id]);
    const moved = await waitFor(
      async () => {
        const source = await foundBy(posthorn, two.id);
        try {
          source!.secrets(Date.now());
          return undefined;
        } catch (error) {
          return error;
        }
      },
      { what: 'the copied secret' },
    );
    expect(moved).toBeInstanceOf(UndecryptableSecret);
    expect((await foundBy(posthorn, one.id))!.secrets(Date.now())).toEqual([GIVEN]);
    const mended = await tenant.request('POST', `/sources/${two.id}/rotate-secret`, { secret: GIVEN });
    expect(mended.body.previous_secret_expires_at).toBeNull();
    expect((await foundBy(posthorn, two.id))!.secrets(Date.now())).toEqual([GIVEN]);
    await tenant.request('DELETE', `/sources/${two.id}`);
  });

  it('is encrypted by a start where it is in plain text, and put under a new key', async () => {
    const { id } = await make('hmac', { secret: GIVEN });
    await tenant.request('POST', `/sources/${id}/rotate-secret`, { secret: OTHER });
    const [old, fresh] = [KeyRing.parse(ENCRYPTION_KEY), KeyRing.generateKey()];
    const read = async (keys: KeyRing): Promise<string[]> => {
      const found = await rows.query<Record<'secret' | 'previous_secret', SealedSecret>>(
        'select secret, previous_secret from source where id = $1',
        [id],
      );
      const stored = [found[0]!.secret, found[0]!.previous_secret];
      for (const secret of stored) expect(secret).toContain(`enc:v1:${keys.firstId}:`);
      return stored.map((secret) => keys.decrypt(secret, { table: 'source', tenantId: tenant.id, id }));
    };
    await rows.query('update source set secret = $1 where id = $2', [GIVEN, id]);
    await protectSecrets(posthorn.databaseUrl, old);
    expect(await read(old)).toEqual([GIVEN, GIVEN]);

    await expect(protectSecrets(posthorn.databaseUrl, KeyRing.parse(fresh))).rejects.toThrow(old.firstId);
    const both = KeyRing.parse(`${fresh},${ENCRYPTION_KEY}`);
    const result = await reencryptSecrets(posthorn.databaseUrl, both, () => undefined);
    expect(result.changed).toBeGreaterThan(0);
    expect(result.unreadable).toEqual([]);
    expect(await read(both)).toEqual([GIVEN, GIVEN]);
    const back = KeyRing.parse(`${ENCRYPTION_KEY},${fresh}`);
    await reencryptSecrets(posthorn.databaseUrl, back, () => undefined);
    expect(await read(old)).toEqual([GIVEN, GIVEN]);
  });

  it('holds beside the new one for the overlap, to the millisecond', async () => {
    const { id } = await make('hmac', { secret: GIVEN });
    const before = Date.now();
    const { body } = await tenant.request('POST', `/sources/${id}/rotate-secret`, {
      secret: OTHER,
      overlap_seconds: 60,
    });
    const end = Date.parse(body.previous_secret_expires_at);
    expect(end).toBeGreaterThanOrEqual(before + 60_000);
    expect(end).toBeLessThanOrEqual(Date.now() + 60_000);
    const source = await foundBy(posthorn, id);
    expect(source!.secrets(end - 1)).toEqual([OTHER, GIVEN]);
    expect(source!.secrets(end)).toEqual([OTHER]);

    const { body: ended } = await tenant.request('POST', `/sources/${id}/rotate-secret`, {
      overlap_seconds: 0,
    });
    expect(ended.previous_secret_expires_at).toBeNull();
    expect(await rows.query('select previous_secret from source where id = $1', [id])).toEqual([
      { previous_secret: null },
    ]);
    expect((await foundBy(posthorn, id))!.secrets(Date.now())).toEqual([ended.secret]);
  });

  it('keeps the old one when it is rotated to the same one again, unless that is to end', async () => {
    const { id } = await make('hmac', { secret: GIVEN });
    const rotate = (overlap_seconds: number) =>
      tenant.request('POST', `/sources/${id}/rotate-secret`, { secret: OTHER, overlap_seconds });
    const { body: first } = await rotate(60);
    const { status, body: again } = await rotate(600);
    expect([status, again]).toEqual([200, first]);
    expect((await foundBy(posthorn, id))!.secrets(Date.now())).toEqual([OTHER, GIVEN]);
    expect((await rotate(0)).body.previous_secret_expires_at).toBeNull();
    expect((await foundBy(posthorn, id))!.secrets(Date.now())).toEqual([OTHER]);
  });

  it.each([
    [{ overlap_seconds: -1 }, 'overlap_seconds'],
    [{ overlap_seconds: 2_592_001 }, 'overlap_seconds'],
    [{ overlap_seconds: '60' }, 'overlap_seconds'],
    [{ secret: 'short' }, 'secret'],
    [{ secret: null }, 'secret'],
    [{ old: GIVEN }, 'old'],
  ])('is not rotated by %j', async (body, path) => {
    const { id, secret } = await make('hmac');
    expect(expectInvalid(await tenant.request('POST', `/sources/${id}/rotate-secret`, body))).toEqual([path]);
    expect((await foundBy(posthorn, id))!.secrets(Date.now())).toEqual([secret]);
  });
});

describe('another process', () => {
  let other: Posthorn;
  beforeAll(async () => {
    other = await startPosthorn({ databaseUrl: posthorn.databaseUrl });
  });
  afterAll(() => other.stop());

  /** What the other process knows, once it is as wanted: right away and without being asked a second time. */
  const knows = (id: string, isRight: (source: Source | undefined) => boolean) =>
    waitFor(async () => isRight(await foundBy(other, id)), {
      what: 'the other process to know',
    });

  it('hears of each change, and needs no query meanwhile', async () => {
    const { id } = await make('hmac', { secret: GIVEN });
    expect(await foundBy(other, id)).toMatchObject({ isActive: true, isTenantSuspended: false });
    // It may yet hear that the source was made, and look once more.
    await waitFor(
      async () => {
        await foundBy(other, id);
        return !(other.app.get(SourceCache).find(id) instanceof Promise);
      },
      { what: 'a source that is known without a query' },
    );

    const path = `/sources/${id}`;
    await tenant.request('PATCH', path, { is_active: false });
    await knows(id, (source) => source?.isActive === false);
    await tenant.request('PATCH', path, { allowed_ips: ['10.0.0.0/8'] });
    await knows(id, (source) => source?.allowedIps?.has('10.1.2.3') === true);
    await tenant.request('POST', `${path}/rotate-secret`, { secret: OTHER });
    await knows(id, (source) => source?.secrets(Date.now()).join() === [OTHER, GIVEN].join());
    await tenant.request('DELETE', path);
    await knows(id, (source) => source === undefined);
  });

  it('hears of what happens to its tenant', async () => {
    const { id } = await make('github');
    await foundBy(other, id);
    const change = (fields: object) => posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, fields);
    await change({ rate_limit: { per_second: 3, burst: 7 } });
    await knows(id, (source) => source?.rate.perSecond === 3 && source.rate.burst === 7);
    await change({ suspended: true });
    await knows(id, (source) => source?.isTenantSuspended === true);
    // This process knew at once.
    expect(await foundBy(posthorn, id)).toMatchObject({ isTenantSuspended: true });
    await posthorn.admin.request('DELETE', `/tenants/${tenant.id}`);
    await knows(id, (source) => source === undefined);
    expect(await rows.query('select from source where tenant_id = $1', [tenant.id])).toEqual([]);
  });

  it('finds the source for POST /webhooks/ingest once there is one, though it had none', async () => {
    const find = async () => other.app.get(SourceCache).findIngestSource(tenant.id);
    expect(await find()).toBeUndefined();
    await make('github');
    expect(await find()).toBeUndefined();
    const { id } = await make('posthorn');
    await waitFor(async () => (await find())?.id === id, { what: 'the source' });
    expect(other.app.get(SourceCache).findIngestSource(uuidV7(Date.now()))).toBeInstanceOf(Promise);
  });
});
