import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

let posthorn: Posthorn;
/** Another process on the same database. */
let replica: Posthorn;
let simulator: Simulator;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  replica = await startPosthorn({ databaseUrl: posthorn.databaseUrl });
});
afterAll(async () => {
  await replica.stop();
  await posthorn.stop();
  await simulator.close();
});

const change = (tenant: TestTenant, fields: object) =>
  posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, fields);

/** The tenant's key, used at the other process. */
const elsewhere = (tenant: TestTenant) => client(replica.url, tenant.apiKey);

describe('changing a tenant', () => {
  it('changes the given fields and no other', async () => {
    const tenant = await posthorn.tenant('before');
    const fields = {
      rate_limit: { per_second: 12.5, burst: 50 },
      retention_hours: 24,
      allowed_ips: ['127.0.0.0/8', '2001:db8::/32'],
    };
    const first = await change(tenant, fields);
    expect(first).toMatchObject({ status: 200, body: { ...fields, name: 'before', suspended: false } });

    const second = await change(tenant, { name: 'after', rate_limit: null });
    expect(second).toMatchObject({ status: 200, body: { ...fields, name: 'after', rate_limit: null } });
    expect((await posthorn.admin.request('GET', `/tenants/${tenant.id}`)).body).toEqual(second.body);
    expect(Date.parse(second.body.updated_at)).toBeGreaterThan(Date.parse(second.body.created_at));
  });

  it('takes the same fields at creation', async () => {
    const fields = { name: 'born so', suspended: true, retention_hours: 2, allowed_ips: ['::1'] };
    const created = await posthorn.admin.request('POST', '/tenants', fields);
    expect(created).toMatchObject({ status: 201, body: fields });
    const answer = await client(posthorn.url, created.body.api_key).request('GET', '/subscriptions');
    expect(answer.status).toBe(403);
  });

  it.each<[string, object, string]>([
    ['a blank name', { name: ' ' }, 'name'],
    ['no name at all', { name: null }, 'name'],
    ['a suspension that is no boolean', { suspended: 'yes' }, 'suspended'],
    ['a rate without burst', { rate_limit: { per_second: 5 } }, 'rate_limit.burst'],
    ['a rate of nothing', { rate_limit: { per_second: 0, burst: 1 } }, 'rate_limit.per_second'],
    ['a rate that is no object', { rate_limit: 5 }, 'rate_limit'],
    ['rates in a list', { rate_limit: [{ per_second: 1, burst: 1 }] }, 'rate_limit'],
    ['an empty list for a rate', { rate_limit: [] }, 'rate_limit'],
    ['a retention beyond the service', { retention_hours: 73 }, 'retention_hours'],
    ['a retention of nothing', { retention_hours: 0 }, 'retention_hours'],
    ['a range that is none', { allowed_ips: ['127.0.0.1', 'home'] }, 'allowed_ips[1]'],
    ['a range with bits beyond its prefix', { allowed_ips: ['10.1.2.3/8'] }, 'allowed_ips[0]'],
    ['one range as text', { allowed_ips: '127.0.0.1' }, 'allowed_ips'],
    ['ranges that are no text', { allowed_ips: [127] }, 'allowed_ips'],
    ['null for ranges', { allowed_ips: null }, 'allowed_ips'],
    ['an unknown field', { plan: 'gold' }, 'plan'],
  ])('refuses %s', async (_, fields, path) => {
    const tenant = await posthorn.tenant();
    const answer = await change(tenant, fields);
    expect(answer).toMatchObject({ status: 422, body: { code: 'invalid_request' } });
    expect(answer.body.errors.map((error: { path: string }) => error.path)).toContain(path);
    expect((await posthorn.admin.request('GET', `/tenants/${tenant.id}`)).body).toMatchObject({
      name: 'a tenant',
      allowed_ips: [],
    });
  });

  it('knows no other tenant', async () => {
    const answer = await posthorn.admin.request('PATCH', '/tenants/0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e', {});
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });
});

describe('a suspended tenant', () => {
  it('is refused by every process, which are told, until it is not suspended any more', async () => {
    const tenant = await posthorn.tenant();
    expect((await elsewhere(tenant).request('GET', '/subscriptions')).status).toBe(200);
    await change(tenant, { suspended: true });
    const since = performance.now();
    expect(await tenant.request('GET', '/subscriptions')).toMatchObject({
      status: 403,
      body: { code: 'tenant_suspended' },
    });
    await waitFor(async () => (await elsewhere(tenant).request('GET', '/subscriptions')).status === 403, {
      what: 'the other process to refuse',
    });
    // It was told: by itself it would have remembered the key for a minute.
    expect(performance.now() - since).toBeLessThan(30_000);
    expect((await tenant.request('POST', '/events', { event_type: 'a', payload: 1 })).status).toBe(403);
    await change(tenant, { suspended: false });
    expect((await tenant.request('GET', '/subscriptions')).status).toBe(200);
  });

  it('has its deliveries held, and delivered afterwards', async () => {
    const held = await retryingSubscriber('held');
    const other = await retryingSubscriber('other');
    await change(held.tenant, { suspended: true });
    // What was under way when it was suspended has ended once the other tenant was tried twice.
    await anotherTry(other.path, 2);
    const seen = simulator.countOn(held.path);
    await anotherTry(other.path, 3);
    expect(simulator.countOn(held.path)).toBe(seen);

    simulator.setBehaviour(held.path, 'ok');
    await change(held.tenant, { suspended: false });
    const isDelivered = async () => {
      const { body } = await held.tenant.request('GET', '/deliveries');
      return body.data[0].status === 'delivered';
    };
    await waitFor(isDelivered, { what: 'the delivery' });
    expect(simulator.countOn(held.path)).toBe(seen + 1);
  });

  async function retryingSubscriber(name: string) {
    const tenant = await posthorn.tenant(name);
    const path = `/suspension/${name}`;
    simulator.setBehaviour(path, 'always-fail');
    await tenant.request('POST', '/subscriptions', {
      target_url: `${simulator.url}${path}`,
      retry_policy: { schedule: Array<number>(40).fill(0.2) },
    });
    await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await anotherTry(path, 2);
    return { tenant, path };
  }

  function anotherTry(path: string, times: number): Promise<boolean> {
    const wanted = simulator.countOn(path) + times;
    return waitFor(() => simulator.countOn(path) >= wanted, { what: `${times} more tries at ${path}` });
  }
});

describe('allowed addresses', () => {
  it('bind the keys of a tenant to where they may be used', async () => {
    const tenant = await posthorn.tenant();
    await change(tenant, { allowed_ips: ['192.0.2.0/24'] });
    const refused = await tenant.request('GET', '/subscriptions');
    expect(refused).toMatchObject({ status: 403, body: { code: 'ip_not_allowed' } });
    expect(refused.body.detail).toContain('127.0.0.1');
    await change(tenant, { allowed_ips: ['192.0.2.0/24', '127.0.0.1/32'] });
    expect((await tenant.request('GET', '/subscriptions')).status).toBe(200);
  });

  it('are those of the client behind a trusted proxy, and of nobody who only says so', async () => {
    const behindProxy = await startPosthorn({
      databaseUrl: posthorn.databaseUrl,
      env: { TRUSTED_PROXIES: '127.0.0.0/8' },
    });
    try {
      const tenant = await posthorn.tenant();
      await change(tenant, { allowed_ips: ['192.0.2.0/24'] });
      const ask = (url: string, forwarded: string) =>
        client(url, tenant.apiKey).request('GET', '/subscriptions', undefined, {
          'x-forwarded-for': forwarded,
        });
      expect((await ask(behindProxy.url, '192.0.2.7')).status).toBe(200);
      expect((await ask(behindProxy.url, '192.0.2.7, 198.51.100.1')).status).toBe(403);
      expect((await ask(posthorn.url, '192.0.2.7')).status).toBe(403);
    } finally {
      await behindProxy.stop();
    }
  });
});
