import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';

const UNKNOWN_ID = '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e';

let posthorn: Posthorn;
let database: pg.Pool;
let tenant: TestTenant;

beforeAll(async () => {
  posthorn = await startPosthorn();
  database = new pg.Pool({ connectionString: posthorn.databaseUrl, max: 2 });
});
afterAll(async () => {
  await database.end();
  await posthorn.stop();
});
beforeEach(async () => {
  tenant = await posthorn.tenant();
});

interface Subscription extends Record<string, unknown> {
  id: string;
  target_url: string;
  secret: string;
  created_at: string;
}

const DEFAULTS = {
  event_types: [],
  is_active: true,
  disabled_reason: null,
  filter: null,
  headers: {},
  retry_policy: null,
  timeout_ms: null,
  rate_limit: null,
  max_concurrency: null,
  ordering: 'none',
  description: null,
  metadata: {},
  verification: 'not_required',
  verification_reason: null,
  verification_at: null,
};

/** Every field that a user may set, away from its default. */
const FULL = {
  target_url: 'https://example.com/hook?a=b',
  event_types: ['user.*', 'order.created'],
  is_active: false,
  filter: null,
  headers: { 'X-Tenant': 'acme', Authorization: 'Bearer theirs' },
  retry_policy: { schedule: [1, 2, 4] },
  timeout_ms: 5_000,
  rate_limit: { limit: 3, period_seconds: 2 },
  max_concurrency: 4,
  ordering: 'none',
  description: 'Billing',
  metadata: { team: 'billing', tags: [1, null] },
};

async function subscribe(fields: Record<string, unknown> = {}, owner = tenant): Promise<Subscription> {
  const { status, body } = await owner.request('POST', '/subscriptions', {
    target_url: 'https://example.com/hook',
    ...fields,
  });
  expect(status).toBe(201);
  return body as Subscription;
}

/** A subscription as GET shows it, and what the answers that give a secret have beside. */
function apart({ secret, secret_format: _format, warnings: _warnings, ...before }: Subscription) {
  return { secret, before };
}

/** The ids of a list, from one of its pages to the last. */
async function listFrom(path: string, firstCursor?: string): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | null | undefined = firstCursor; cursor !== null;) {
    const { body } = await tenant.request('GET', cursor === undefined ? path : `${path}&cursor=${cursor}`);
    ids.push(...idsOf(body));
    cursor = body.next_cursor;
  }
  return ids;
}

function idsOf(page: { data: { id: string }[] }): string[] {
  return page.data.map(({ id }) => id);
}

describe('create and get', () => {
  it('fills in the defaults and makes a secret', async () => {
    const created = await subscribe({ target_url: 'https://example.com' });

    expect(created).toEqual({
      ...DEFAULTS,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      target_url: 'https://example.com',
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
      secret_format: 'base64',
      warnings: [],
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      updated_at: created.created_at,
    });
  });

  it('keeps everything it is given, and shows the secret only in the answer to create', async () => {
    const { secret, before: created } = apart(await subscribe({ ...FULL, secret: 'a secret of my own' }));
    const { body: read } = await tenant.request('GET', `/subscriptions/${created.id}`);

    expect(secret).toBe('a secret of my own');
    expect(created).toMatchObject({ ...FULL, disabled_reason: null });
    expect(read).toEqual(created);
  });

  it('limits a rate to one second unless told', async () => {
    expect((await subscribe({ rate_limit: { limit: 3 } }))['rate_limit']).toEqual({
      limit: 3,
      period_seconds: 1,
    });
  });
});

describe('list', () => {
  it('visits each of 120 subscriptions once, newest first, also while some are added', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 120; index++) ids.push((await subscribe()).id);
    const { body } = await tenant.request('GET', '/subscriptions?limit=50');
    await subscribe();
    const rest = await listFrom('/subscriptions?limit=50', body.next_cursor);

    const visited = [...idsOf(body), ...rest];
    expect(visited).toHaveLength(120);
    expect(new Set(visited)).toEqual(new Set(ids));
    expect(visited).toEqual([...visited].sort().reverse());
  });

  it('ends with a page that is exactly full', async () => {
    await subscribe();
    await subscribe();

    const { body } = await tenant.request('GET', '/subscriptions?limit=2');
    expect(body.data).toHaveLength(2);
    expect(body.next_cursor).toBeNull();
  });

  it('filters by is_active, across pages', async () => {
    const on: string[] = [];
    for (let index = 0; index < 5; index++) {
      on.push((await subscribe()).id);
      await subscribe({ is_active: false });
    }

    expect((await listFrom('/subscriptions?is_active=true&limit=2')).sort()).toEqual(on.sort());
    expect(await listFrom('/subscriptions?is_active=false&limit=2')).toHaveLength(5);
  });

  it('holds no secrets', async () => {
    const { id } = await subscribe({ secret: 'must-not-be-seen' });
    await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, { secret: 'nor-this-one-here' });

    const { body } = await tenant.request('GET', '/subscriptions');
    expect(body.data[0]).not.toHaveProperty('secret');
    expect(JSON.stringify(body)).not.toMatch(/must-not-be-seen|nor-this-one-here/);
  });
});

describe('replace', () => {
  it('puts what is left out back to its default, but for the secret', async () => {
    const { id, secret, created_at } = await subscribe(FULL);
    const { status, body } = await tenant.request('PUT', `/subscriptions/${id}`, {
      target_url: 'https://example.com/new',
    });

    expect(status).toBe(200);
    expect(body).toEqual({
      ...DEFAULTS,
      id,
      target_url: 'https://example.com/new',
      created_at,
      updated_at: body.updated_at,
      warnings: [],
    });
    expect((await tenant.request('GET', `/subscriptions/${id}`)).body).toEqual(apart(body).before);
    expect((await tenant.request('GET', `/subscriptions/${id}/secret`)).body.secret).toBe(secret);
  });

  it('takes every field', async () => {
    const { id } = await subscribe();
    const { body } = await tenant.request('PUT', `/subscriptions/${id}`, FULL);

    expect(body).toMatchObject(FULL);
    expect(body).not.toHaveProperty('secret');
  });
});

describe('patch', () => {
  it.each(Object.entries({ ...FULL, target_url: 'https://example.com/new' }))(
    'changes %s and keeps the rest',
    async (field, value) => {
      const { secret, before } = apart(await subscribe());
      const { status, body } = await tenant.request('PATCH', `/subscriptions/${before.id}`, {
        [field]: value,
      });

      expect(status).toBe(200);
      expect(body).toEqual({ ...before, [field]: value, updated_at: body.updated_at, warnings: [] });
      expect((await tenant.request('GET', `/subscriptions/${before.id}/secret`)).body.secret).toBe(secret);
    },
  );

  it.each(['retry_policy', 'timeout_ms', 'rate_limit', 'max_concurrency', 'description'])(
    'takes null to put %s back to its default, and keeps the rest',
    async (field) => {
      const { before } = apart(await subscribe(FULL));
      const { body } = await tenant.request('PATCH', `/subscriptions/${before.id}`, { [field]: null });

      expect(body).toEqual({ ...before, [field]: null, updated_at: body.updated_at, warnings: [] });
    },
  );

  it('loses no concurrent change of another field', async () => {
    const { id } = await subscribe();
    for (let round = 1; round <= 10; round++) {
      const changes = [
        { description: `round ${round}` },
        { timeout_ms: 1_000 + round },
        { max_concurrency: round },
        { metadata: { round } },
        { headers: { 'X-Round': String(round) } },
        { is_active: round % 2 === 0 },
      ];
      await Promise.all(changes.map((change) => tenant.request('PATCH', `/subscriptions/${id}`, change)));

      const { body } = await tenant.request('GET', `/subscriptions/${id}`);
      expect(body).toMatchObject(Object.assign({}, ...changes) as object);
    }
  });

  it('forgets why it was disabled only when it is switched on again', async () => {
    const { id } = await subscribe();
    const disable =
      "update subscription set is_active = false, disabled_reason = 'Answered 410 Gone' where id = $1";
    await database.query(disable, [id]);
    const path = `/subscriptions/${id}`;

    const renamed = await tenant.request('PATCH', path, { description: 'Still off' });
    expect(renamed.body).toMatchObject({ is_active: false, disabled_reason: 'Answered 410 Gone' });
    const off = await tenant.request('PATCH', path, { is_active: false });
    expect(off.body).toMatchObject({ is_active: false, disabled_reason: 'Answered 410 Gone' });
    const on = await tenant.request('PATCH', path, { is_active: true });
    expect(on.body).toMatchObject({ is_active: true, disabled_reason: null });
  });
});

describe('secrets', () => {
  it('rotates to a new one, with the old one beside it for a day', async () => {
    const { id, secret } = await subscribe();
    const before = Date.now();
    const rotated = await tenant.request('POST', `/subscriptions/${id}/rotate-secret`);
    const { body } = await tenant.request('GET', `/subscriptions/${id}/secret`);

    expect(rotated.status).toBe(200);
    expect(rotated.body).toMatchObject({ ...DEFAULTS, id, secret: expect.stringMatching(/^whsec_/) });
    expect(rotated.body.secret).not.toBe(secret);
    expect(body).toEqual({
      secret: rotated.body.secret,
      secret_format: 'base64',
      warnings: [],
      previous_secret: secret,
      previous_secret_expires_at: expect.any(String),
      previous_secrets: [{ secret, secret_format: 'base64', expires_at: body.previous_secret_expires_at }],
    });
    const day = 86_400_000;
    const expiresAt = Date.parse(body.previous_secret_expires_at);
    expect(expiresAt).toBeGreaterThanOrEqual(before + day);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + day);
  });

  it('takes a secret and an overlap, after which the old one is gone', async () => {
    const { id } = await subscribe();
    const answer = await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, {
      secret: 'a secret of my own',
      overlap_seconds: 0,
    });

    expect(answer.body.secret).toBe('a secret of my own');
    expect((await tenant.request('GET', `/subscriptions/${id}/secret`)).body).toEqual({
      secret: 'a secret of my own',
      secret_format: 'raw',
      warnings: [],
      previous_secret: null,
      previous_secret_expires_at: null,
      previous_secrets: [],
    });
  });

  it.each<[method: string, path: (id: string) => string]>([
    ['POST', () => ''],
    ['POST', (id) => `/${id}/rotate-secret`],
    ['PATCH', (id) => `/${id}`],
    ['PUT', (id) => `/${id}`],
  ])('that look like an encoded key are answered with a warning: %s %s', async (method, pathOf) => {
    const { id, target_url } = await subscribe();
    const secret = '6d1f0a9c4be27f53a8d0c1e5b7963482f4ad0be19c5d7e208b3f6a41d2c7e95a';
    const path = pathOf(id);
    const fields = path.endsWith('rotate-secret') ? { secret } : { secret, target_url };
    const { body } = await tenant.request(method, `/subscriptions${path}`, fields);

    const warnings = [
      { path: 'secret', message: expect.stringContaining('looks like a key in hexadecimal') },
    ];
    expect(body).toMatchObject({ warnings });
    expect((await tenant.request('GET', `/subscriptions/${body.id}/secret`)).body).toMatchObject({
      secret,
      secret_format: 'raw',
      warnings,
    });
  });

  it.each(['PATCH', 'PUT'])('is replaced at once by %s', async (method) => {
    const { id, target_url } = await subscribe();
    await tenant.request('POST', `/subscriptions/${id}/rotate-secret`);
    const { body } = await tenant.request(method, `/subscriptions/${id}`, {
      target_url,
      secret: 'a secret from now on',
    });

    expect(body).not.toHaveProperty('secret');
    expect((await tenant.request('GET', `/subscriptions/${id}/secret`)).body).toEqual({
      secret: 'a secret from now on',
      secret_format: 'raw',
      warnings: [],
      previous_secret: null,
      previous_secret_expires_at: null,
      previous_secrets: [],
    });
  });
});

describe('delete', () => {
  it('is over at once', async () => {
    const { id } = await subscribe();

    expect(await tenant.request('DELETE', `/subscriptions/${id}`)).toMatchObject({
      status: 204,
      body: undefined,
    });
    expect((await tenant.request('GET', `/subscriptions/${id}`)).status).toBe(404);
    expect((await tenant.request('DELETE', `/subscriptions/${id}`)).status).toBe(404);
  });
});

describe('a subscription of another tenant', () => {
  const verbs: [method: string, path: string, body?: unknown][] = [
    ['GET', ''],
    ['PUT', '', { target_url: 'https://evil.example' }],
    ['PATCH', '', { target_url: 'https://evil.example' }],
    ['DELETE', ''],
    ['GET', '/secret'],
    ['POST', '/rotate-secret', {}],
  ];

  it.each(verbs)('%s %s is not found, and stays as it is', async (method, path, body) => {
    const owner = await posthorn.tenant();
    const { secret, before: theirs } = apart(await subscribe({ description: 'Theirs' }, owner));

    const answer = await tenant.request(method, `/subscriptions/${theirs.id}${path}`, body);

    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(JSON.stringify(answer.body)).not.toContain('Theirs');
    expect((await owner.request('GET', `/subscriptions/${theirs.id}`)).body).toEqual(theirs);
    expect((await owner.request('GET', `/subscriptions/${theirs.id}/secret`)).body.secret).toBe(secret);
  });

  it.each(verbs)('%s %s answers the same for an id that nobody has', async (method, path, body) => {
    for (const id of [UNKNOWN_ID, 'no-uuid']) {
      const answer = await tenant.request(method, `/subscriptions/${id}${path}`, body);
      expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    }
  });

  it('is in no list', async () => {
    const owner = await posthorn.tenant();
    await subscribe({}, owner);
    const mine = await subscribe();

    const { body } = await tenant.request('GET', '/subscriptions');
    expect(idsOf(body)).toEqual([mine.id]);
  });
});
