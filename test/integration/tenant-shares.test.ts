import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SubscriptionCache } from '../../src/persistence/subscription-cache.js';
import { SubscriptionRepository } from '../../src/persistence/repositories/subscription.repository.js';
import { client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';

/** One tenant that asks for much must not stand in another one's way. */

const NOBODY = 'http://127.0.0.1:60009/';

let posthorn: Posthorn;
beforeAll(async () => {
  posthorn = await startPosthorn({
    env: { TENANT_MAX_SUBSCRIPTIONS: '30' },
  });
});
afterAll(() => posthorn.stop());

const subscribe = (tenant: TestTenant, fields: object = {}) =>
  tenant.request('POST', '/subscriptions', { target_url: NOBODY, is_active: false, ...fields });

async function database<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const connection = new pg.Client({ connectionString: posthorn.databaseUrl });
  await connection.connect();
  return work(connection).finally(() => connection.end());
}

/** Subscriptions that want these types, written past the limits. */
/** One host. */
const SPELLINGS = [
  'https://example.com/hook',
  'HTTPS://Example.com/hook',
  'https://example.com./hook',
  'https://example.com:443/hook',
  'https://example.com:8443/hook',
  'http://example.com/hook',
  'https://ex%61mple.com/hook',
  'https://ｅxample。com/hook',
  'https://example.com/other',
  'https://example.com/h%6fok?1',
];

const seed = (tenantId: string, count: number, eventTypes: string) =>
  database((db) =>
    db.query(
      `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
       select gen_random_uuid(), $1, '${NOBODY}', ${eventTypes}, true, 'a secret of 8', '{}', '{}'
       from generate_series(1, $2::int) n`,
      [tenantId, count],
    ),
  );

describe('subscriptions', () => {
  it('are as many as the operator allows', async () => {
    const tenant = await posthorn.tenant();
    for (let count = 0; count < 30; count++) expect((await subscribe(tenant)).status).toBe(201);
    const refused = await subscribe(tenant);
    expect(refused).toMatchObject({ status: 409, body: { code: 'conflict' } });
    expect(refused.body.detail).toContain('TENANT_MAX_SUBSCRIPTIONS');
    const { body } = await tenant.request('GET', '/subscriptions?limit=1');
    const path = `/subscriptions/${body.data[0].id}`;
    expect((await tenant.request('PATCH', path, { event_types: ['a.*'] })).status).toBe(200);
    expect((await tenant.request('DELETE', path)).status).toBe(204);
    expect((await subscribe(tenant)).status).toBe(201);
  });

  it('may have one host so often, in whatever spelling and all at once', async () => {
    const limited = await startPosthorn({
      databaseUrl: posthorn.databaseUrl,
      env: { TENANT_MAX_SUBSCRIPTIONS_PER_HOST: '2' },
    });
    const tenant = await posthorn.tenant();
    const over = client(limited.url, tenant.apiKey);
    const create = (target_url: string) => over.request('POST', '/subscriptions', { target_url });
    try {
      const answers = await Promise.all(SPELLINGS.map(create));
      const first = answers.find(({ status }) => status === 201)!.body;
      expect(answers.map(({ status }) => status).sort()).toEqual([
        201,
        201,
        ...SPELLINGS.slice(2).map(() => 409),
      ]);
      const refused = answers.find(({ status }) => status === 409)!.body;
      expect(refused).toMatchObject({ code: 'conflict' });
      expect(refused.detail).toContain('TENANT_MAX_SUBSCRIPTIONS_PER_HOST');
      const { body: other } = await create('https://example.org/');
      const move = (id: string) =>
        over.request('PATCH', `/subscriptions/${id}`, { target_url: 'https://example.com/moved' });
      expect((await move(other.id)).status).toBe(409);
      expect((await move(first.id)).status).toBe(200);
      // The operator's own network.
      for (let count = 0; count < 3; count++) expect((await create(`${NOBODY}${count}`)).status).toBe(201);
    } finally {
      await limited.stop();
    }
  });

  it('have a bounded number of patterns, each of which every event is compared with', async () => {
    const tenant = await posthorn.tenant();
    await seed(tenant.id, 20, "array(select 'p' || n || '.' || m || '.*' from generate_series(1, 100) m)");
    const refused = await subscribe(tenant, { event_types: ['one.more.*'] });
    expect(refused).toMatchObject({ status: 409, body: { code: 'conflict' } });
    expect((await subscribe(tenant, { event_types: ['plain'] })).status).toBe(201);
  });

  it('have headers of bounded size, which workers keep in memory', async () => {
    const tenant = await posthorn.tenant();
    const headers = (size: number) => ({ 'x-a': 'a'.repeat(4_000), 'x-b': 'b'.repeat(size) });
    expect((await subscribe(tenant, { headers: headers(4_096) })).status).toBe(201);
    expect(await subscribe(tenant, { headers: { ...headers(4_096), 'x-c': 'c'.repeat(100) } })).toMatchObject(
      {
        status: 422,
        body: { errors: [{ path: 'headers' }] },
      },
    );
  });
});

it('loads the subscriptions of a tenant at most twice at a time, however often they change meanwhile', async () => {
  const tenant = await posthorn.tenant();
  await seed(tenant.id, 10, "'{}'");
  const cache = posthorn.app.get(SubscriptionCache, { strict: false });
  const repository = posthorn.app.get(SubscriptionRepository, { strict: false });
  const all = repository.all.bind(repository);
  let [open, most, loads] = [0, 0, 0];
  repository.all = async (tenantId) => {
    most = Math.max(most, ++open);
    loads++;
    return all(tenantId).finally(() => open--);
  };
  try {
    const asked = Array.from({ length: 50 }, () => {
      cache.forget(tenant.id);
      return cache.matching(tenant.id, 'a');
    });
    const answers = await Promise.all(asked);
    expect(answers.map(({ length }) => length)).toEqual(Array.from({ length: 50 }, () => 10));
    expect({ most, loads }).toEqual({ most: 1, loads: 2 });
    // Whoever asks after a change gets what was read after it.
    await seed(tenant.id, 1, "'{}'");
    cache.forget(tenant.id);
    expect(await cache.matching(tenant.id, 'a')).toHaveLength(11);
  } finally {
    repository.all = all;
  }
});

it('answers others while a batch of a thousand new types is compared with thousands of patterns', async () => {
  const [greedy, other] = [await posthorn.tenant(), await posthorn.tenant()];
  await seed(
    greedy.id,
    200,
    "array(select 'team' || n || '.*.item' || m || '.*' from generate_series(1, 100) m)",
  );
  const events = Array.from({ length: 1_000 }, (_, n) => ({
    event_type: `team.a.b.c.d.e.f.${n}`,
    payload: 1,
  }));
  const batchIs = { over: false };
  const batch = greedy.request('POST', '/events/batch', { events }).finally(() => (batchIs.over = true));
  let answers = 0;
  while (!batchIs.over) {
    expect((await other.request('POST', '/events', { event_type: 'a', payload: 1 })).status).toBe(202);
    answers++;
  }
  expect((await batch).status).toBe(202);
  expect(answers).toBeGreaterThan(3);
});
