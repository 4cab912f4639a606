import { setTimeout as after } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshMetrics } from '../support/metrics.js';
import { client, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { waitFor } from '../support/wait-for.js';

let posthorn: Posthorn;
beforeAll(async () => {
  posthorn = await startPosthorn();
});
afterAll(() => posthorn.stop());

/** A tenant under a rule of its own; by default so slow that nothing flows in during a test. */
async function limited(burst: number, perSecond = 0.01, at = posthorn): Promise<TestTenant> {
  const tenant = await at.tenant();
  await limit(tenant, burst, perSecond, at);
  return tenant;
}

async function limit({ id }: TestTenant, burst: number, perSecond = 0.01, at = posthorn): Promise<void> {
  const rule = { per_second: perSecond, burst };
  expect(await at.admin.request('PATCH', `/tenants/${id}`, { rate_limit: rule })).toMatchObject({
    status: 200,
  });
}

const get = (tenant: TestTenant) => tenant.request('GET', '/events');
const event = { event_type: 'order.created', payload: {} };
const batch = (tenant: TestTenant, size: number) =>
  tenant.request('POST', '/events/batch', { events: Array.from({ length: size }, () => event) });

describe('the rate limit of a tenant', () => {
  it('tells in each answer what is left, in the fields of the IETF draft', async () => {
    const tenant = await limited(10, 0.5);
    const { status, headers } = await get(tenant);
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'ratelimit-policy': '"tenant";q=10;w=20',
      ratelimit: '"tenant";r=9;t=2',
    });
    const other = await tenant.request('GET', '/subscriptions/no-uuid');
    expect(other.headers).toMatchObject({ ratelimit: '"tenant";r=8;t=4' });
    expect(other.headers['retry-after']).toBeUndefined();
  });

  it('refuses what is too much with 429, says when to come again, and leaves others alone', async () => {
    const tenant = await limited(2, 0.1);
    const neighbour = await limited(2, 0.1);
    expect((await get(tenant)).status).toBe(200);
    expect((await get(tenant)).status).toBe(200);
    const { status, headers, body } = await tenant.request('POST', '/events', event);
    expect(status).toBe(429);
    expect(body).toMatchObject({ code: 'rate_limited', status: 429 });
    expect(headers).toMatchObject({ 'retry-after': '10', ratelimit: '"tenant";r=0;t=10' });
    expect((await get(neighbour)).status).toBe(200);
    await limit(tenant, 5, 1_000);
    await waitFor(async () => (await get(tenant)).status === 200, { what: 'a token' });
    expect((await get(tenant)).body.data).toEqual([]);
  });

  it('admits whoever comes again when told to', async () => {
    const tenant = await limited(1, 1);
    expect((await get(tenant)).status).toBe(200);
    const { status, headers } = await get(tenant);
    expect(status).toBe(429);
    await after(Number(headers['retry-after']) * 1_000 + 1);
    expect((await get(tenant)).status).toBe(200);
  });

  it('charges a batch for each of its events', async () => {
    const tenant = await limited(10);
    expect(await batch(tenant, 7)).toMatchObject({
      status: 202,
      headers: { ratelimit: '"tenant";r=3;t=700' },
    });
    expect(await batch(tenant, 4)).toMatchObject({ status: 429 });
  });

  it('takes a batch that is greater than the burst when the bucket is full, and then nothing for a while', async () => {
    const tenant = await limited(10);
    expect(await batch(tenant, 100)).toMatchObject({
      status: 202,
      headers: { ratelimit: '"tenant";r=0;t=10000' },
    });
    expect(await get(tenant)).toMatchObject({ status: 429, headers: { 'retry-after': '9100' } });
  });

  it('takes a batch that was refused when it comes again as told to', async () => {
    const tenant = await limited(3, 1);
    expect((await batch(tenant, 2)).status).toBe(202);
    const { status, headers } = await batch(tenant, 3);
    expect(status).toBe(429);
    await after(Number(headers['retry-after']) * 1_000 + 1);
    expect((await batch(tenant, 3)).status).toBe(202);
  });

  it('holds to a new rule at once', async () => {
    const tenant = await limited(1_000);
    expect((await get(tenant)).status).toBe(200);
    await limit(tenant, 1);
    expect((await get(tenant)).status).toBe(200);
    expect((await get(tenant)).status).toBe(429);
  });

  it('charges nobody for a key that is nobody’s or is used from elsewhere, so that a thief uses nothing up', async () => {
    const tenant = await limited(1);
    expect((await posthorn.anonymous.request('GET', '/events')).headers['ratelimit']).toBeUndefined();
    await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { allowed_ips: ['192.0.2.0/24'] });
    for (const path of ['/events', '/tenants']) {
      const refused = await tenant.request('GET', path);
      expect(refused).toMatchObject({ status: 403, body: { code: 'ip_not_allowed' } });
      expect(refused.headers['ratelimit']).toBeUndefined();
    }
    await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { allowed_ips: [] });
    expect((await get(tenant)).status).toBe(200);
  });

  it.each([
    ['a route of the operator', '/tenants'],
    ['what the key is not for', '/api-keys'],
  ])('charges for %s', async (_, path) => {
    const tenant = await limited(2);
    const made = await tenant.request('POST', '/api-keys', { name: 'reader', scopes: ['read'] });
    const reader = client(posthorn.url, made.body.api_key);
    expect((await reader.request('GET', path)).status).toBe(403);
    expect((await reader.request('GET', path)).status).toBe(429);
  });

  it('charges a batch that is too large to be one for a single request', async () => {
    const tenant = await limited(10);
    const events = Array.from({ length: 100_000 }, () => 0);
    expect((await tenant.request('POST', '/events/batch', { events })).status).toBe(422);
    expect((await get(tenant)).headers['ratelimit']).toMatch(/;r=8;/);
  });

  it('has a bucket for changes beside, each of which is kept in the audit log', async () => {
    const tenant = await limited(100, 50);
    const change = () => tenant.request('DELETE', '/subscriptions/0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e');
    const answers = await Promise.all(Array.from({ length: 30 }, change));
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 404).length).toBeGreaterThanOrEqual(20);
    expect(refused.length).toBeGreaterThanOrEqual(8);
    expect(refused[0]).toMatchObject({ headers: { 'retry-after': '1' }, body: { code: 'rate_limited' } });
    expect((await get(tenant)).status).toBe(200);
    const { body } = await tenant.request('GET', '/audit?action=subscription.delete&limit=100');
    expect(body.data.length).toBe(30 - refused.length);
  });

  it('is counted', async () => {
    const tenant = await limited(1);
    const hits = async (): Promise<number> => {
      const text = await freshMetrics(posthorn.anonymous);
      return Number(/^webhook_rate_limit_hits_total\{limit="tenant"\} (\d+)/m.exec(text)?.[1] ?? 0);
    };
    await get(tenant);
    const before = await hits();
    await get(tenant);
    expect((await hits()) - before).toBe(1);
  });
});

it('is one for all processes that share a Redis', async () => {
  const env = { REDIS_URL: (await freshRedis()).url };
  const one = await startPosthorn({ env });
  const other = await startPosthorn({ env, databaseUrl: one.databaseUrl });
  const tenant = await limited(10, 0.01, one);
  const there = client(other.url, tenant.apiKey);
  for (let times = 0; times < 5; times++) {
    expect((await get(tenant)).status).toBe(200);
    expect((await there.request('GET', '/events')).status).toBe(200);
  }
  expect((await get(tenant)).status).toBe(429);
  await other.stop();
  await one.stop();
});
