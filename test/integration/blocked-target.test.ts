import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Knowledge, LoopbackDns } from '../unit/delivery/loopback-dns.js';
import { answer, LoopbackServer } from '../unit/delivery/loopback-server.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** The DNS server that Posthorn asks here, and what it says of every name. */
const dns = vi.hoisted((): { server: string; says: Knowledge } => ({ server: '', says: '127.0.0.1' }));

vi.mock('../../src/delivery/target-resolver.js', async (original) => {
  const actual = await original<typeof import('../../src/delivery/target-resolver.js')>();
  const targetResolver: typeof actual.targetResolver = (options) =>
    actual.targetResolver({ ...options, servers: [dns.server] });
  return { ...actual, targetResolver };
});

let loopbackDns: LoopbackDns;
let subscriber: LoopbackServer;
let posthorn: Posthorn | undefined;

beforeAll(async () => {
  loopbackDns = await LoopbackDns.start(() => dns.says);
  dns.server = loopbackDns.server;
});
beforeEach(async () => {
  // Every request comes on a connection of its own.
  subscriber = await LoopbackServer.start((socket, request) => {
    answer(200, ['connection: close'])(socket, request);
    socket.end();
  });
});
afterEach(() => subscriber.stop());
afterAll(async () => {
  await posthorn?.stop();
  await loopbackDns.stop();
});

/** A tenant of a service that allows these ranges. */
async function tenantWith(ALLOW_TARGET_RANGES: string): Promise<TestTenant> {
  await posthorn?.stop();
  posthorn = await startPosthorn({ env: { ALLOW_TARGET_RANGES } });
  return posthorn.tenant();
}

async function subscribe(tenant: TestTenant, target_url: string): Promise<string> {
  const { status, body, text } = await tenant.request('POST', '/subscriptions', { target_url });
  expect(status, text).toBe(201);
  return body.id;
}

/** What has become of a new event, once its deliveries have ended. */
async function deliver(tenant: TestTenant): Promise<any> {
  const { body: event } = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
  const path = `/events/${event.id}/status`;
  return waitFor(
    async () => {
      const { body } = await tenant.request('GET', path);
      return body.status !== 'delivering' && body;
    },
    { what: 'the end of the delivery' },
  );
}

describe('without ALLOW_TARGET_RANGES', () => {
  beforeAll(async () => {
    await tenantWith('');
  });

  it.each([
    ['a private address', 'http://10.1.2.3/hook'],
    ['loopback', 'http://[::1]:8080/'],
    ['a mapped address', 'http://[::ffff:192.168.0.1]/'],
    ['a decimal address', 'http://2852039166/latest/meta-data/'],
    ['a percent-encoded address', 'http://%31%32%37.0.0.1/'],
    ['localhost', 'http://localhost:5432/'],
    ['a name under localhost', 'https://api.localhost./'],
    ['a port that is not for HTTP', 'https://example.com:25/'],
  ])('%s is refused at POST, PUT and PATCH', async (_, target_url) => {
    const tenant = await posthorn!.tenant();
    const id = await subscribe(tenant, 'https://example.com/hook');
    for (const [method, path] of [
      ['POST', '/subscriptions'],
      ['PUT', `/subscriptions/${id}`],
      ['PATCH', `/subscriptions/${id}`],
    ] as const) {
      const { status, body } = await tenant.request(method, path, { target_url });
      expect({ method, status, code: body.code }).toEqual({ method, status: 422, code: 'invalid_request' });
      expect(body.errors).toEqual([{ path: 'target_url', message: expect.stringMatching(/^must not /) }]);
    }
    const { body: kept } = await tenant.request('GET', `/subscriptions/${id}`);
    expect(kept.target_url).toBe('https://example.com/hook');
  });

  it.each<[string, Knowledge]>([
    ['a private address', '10.45.67.89'],
    ['a private address among others', { a: ['93.184.215.14', '10.45.67.89'] }],
    ['an alias of a private name', { cname: 'db.internal.test', a: ['10.45.67.89'] }],
    ['a private IPv6 address', { aaaa: ['fd00:45:67:89:0:0:0:1'] }],
  ])('a name that is %s makes a dead letter, which does not tell the address', async (_, says) => {
    dns.says = says;
    const tenant = await posthorn!.tenant();
    await subscribe(tenant, `http://hooks.example.test:${subscriber.port}/`);
    expect(await deliver(tenant)).toMatchObject({ status: 'failed' });

    const { body: dlq, text } = await tenant.request('GET', '/dlq');
    expect(dlq.data).toMatchObject([{ reason: 'blocked_target', attempt_count: 1 }]);
    const delivery = await tenant.request('GET', `/status/delivery/${dlq.data[0].id}`);
    expect(delivery.body.attempts).toMatchObject([
      {
        status_code: null,
        error: expect.stringContaining('blocked_target: hooks.example.test has an address'),
      },
    ]);
    expect(text + delivery.text).not.toMatch(/45[.:]67[.:]89|internal/);
    expect(subscriber.connections).toBe(0);
  });
});

it('a subscription whose name turns to a private address is not called any more, until it turns back', async () => {
  const tenant = await tenantWith('127.0.0.1');
  dns.says = '127.0.0.1';
  await subscribe(tenant, `http://hooks.example.test:${subscriber.port}/`);
  expect(await deliver(tenant)).toMatchObject({ status: 'delivered' });

  dns.says = '10.45.67.89';
  expect(await deliver(tenant)).toMatchObject({ status: 'failed' });
  const { body: dlq } = await tenant.request('GET', '/dlq');
  expect(dlq.data).toMatchObject([{ reason: 'blocked_target', attempt_count: 1 }]);
  expect(subscriber.requests).toHaveLength(1);

  dns.says = '127.0.0.1';
  expect((await tenant.request('POST', `/dlq/${dlq.data[0].id}/retry`, {})).status).toBeLessThan(300);
  await waitFor(() => subscriber.requests.length === 2, { what: 'the replay' });
});
