import type { LookupAddress } from 'node:dns';
import { setTimeout as after } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpSender } from '../../../src/delivery/http-sender.js';
import { type ResolveAddresses, shared, targetResolver } from '../../../src/delivery/target-resolver.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { LoopbackDns } from './loopback-dns.js';
import { answer, LoopbackServer } from './loopback-server.js';

const CONNECT_TIMEOUT_MS = 400;
const LOOPBACK: LookupAddress = { address: '127.0.0.1', family: 4 };

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function dnsWhere(knowledgeOf: Parameters<typeof LoopbackDns.start>[0]): Promise<LoopbackDns> {
  const dns = await LoopbackDns.start(knowledgeOf);
  stops.push(() => dns.stop());
  return dns;
}

/** A system that knows every name, after `waits`; `asked` tells which ones it was asked for. */
function systemThat(waits: (name: string) => Promise<void> = () => Promise.resolve()) {
  const asked: string[] = [];
  const resolve: ResolveAddresses = async (name) => {
    asked.push(name);
    await waits(name);
    return [LOOPBACK];
  };
  return { asked, resolve };
}

const aTurn = () => new Promise(setImmediate);

describe('a public name', () => {
  it('is answered while the look-ups of a hundred others hang', async () => {
    const dns = await dnsWhere((name) => (name.startsWith('silent') ? 'silent' : '203.0.113.7'));
    const { resolve: system, asked } = systemThat(() => new Promise(() => undefined));
    const resolve = targetResolver({ connectTimeoutMs: 60_000, servers: [dns.server], system });
    for (let count = 0; count < 100; count++) void resolve(`silent-${count}.example.test`).catch(() => {});

    expect(await resolve('quick.example.test')).toEqual([{ address: '203.0.113.7', family: 4 }]);
    expect(dns.asked).toContain('silent-99.example.test');
    expect(asked).toEqual([]);
  });

  it('is given up within the connect timeout if nobody answers', async () => {
    const dns = await dnsWhere(() => 'silent');
    const { resolve: system, asked } = systemThat();
    const resolve = targetResolver({ connectTimeoutMs: CONNECT_TIMEOUT_MS, servers: [dns.server], system });
    // By a timer of the same process, so that a machine that is busy holds both up.
    const connectTimeout = after(CONNECT_TIMEOUT_MS, 'too late');
    await expect(Promise.race([resolve('silent.example.test'), connectTimeout])).rejects.toMatchObject({
      code: 'ETIMEOUT',
    });
    // Of the system, it would hang again.
    expect(asked).toEqual([]);
  });

  it('that DNS does not know is asked of the system', async () => {
    const dns = await dnsWhere(() => 'unknown');
    const { resolve: system, asked } = systemThat();
    const resolve = targetResolver({ connectTimeoutMs: CONNECT_TIMEOUT_MS, servers: [dns.server], system });
    expect(await resolve('orders.team')).toEqual([LOOPBACK]);
    expect(asked).toEqual(['orders.team']);
  });

  it.each(['redis', 'orders.team'])(
    'takes one place at most among the look-ups of the system, which never answers: %s',
    async (name) => {
      const dns = await dnsWhere(() => 'unknown');
      const { resolve: system, asked } = systemThat(() => new Promise(() => undefined));
      const resolve = targetResolver({ connectTimeoutMs: CONNECT_TIMEOUT_MS, servers: [dns.server], system });
      const results = Array.from({ length: 150 }, (_, index) => resolve(`n${index}-${name}`, 'flooder'));
      const codes = await Promise.all(
        results.map((result) => result.catch((error: unknown) => (error as { code: string }).code)),
      );
      expect(asked).toHaveLength(1);
      expect(new Set(codes)).toEqual(new Set(['ETIMEOUT', 'EBUSY']));
      expect(await resolve('localhost')).toContainEqual(LOOPBACK);
    },
  );
});

describe("the operator's own names", () => {
  it.each(['localhost', 'localhost.', 'LOCALHOST', 'api.localhost'])(
    'of loopback ask nobody: %s',
    async (name) => {
      const dns = await dnsWhere(() => '203.0.113.7');
      const { resolve: system, asked } = systemThat();
      const resolve = targetResolver({ connectTimeoutMs: CONNECT_TIMEOUT_MS, servers: [dns.server], system });
      expect(await resolve(name)).toContainEqual(LOOPBACK);
      expect([...dns.asked, ...asked]).toEqual([]);
    },
  );

  it('without a dot are asked of DNS, as those of containers', async () => {
    const dns = await dnsWhere(() => '203.0.113.7');
    const { resolve: system, asked } = systemThat();
    const resolve = targetResolver({ connectTimeoutMs: CONNECT_TIMEOUT_MS, servers: [dns.server], system });
    expect(await resolve('redis')).toEqual([{ address: '203.0.113.7', family: 4 }]);
    expect(asked).toEqual([]);
  });

  it('without a dot come from the system where DNS does not know them', async () => {
    const dns = await dnsWhere(() => 'unknown');
    const { resolve: system } = systemThat();
    const resolve = targetResolver({ connectTimeoutMs: CONNECT_TIMEOUT_MS, servers: [dns.server], system });
    expect(await resolve('redis')).toEqual([LOOPBACK]);
  });
});

describe('shared', () => {
  it('looks a name up once for all who wait, and again for who comes later', async () => {
    let release = () => {};
    const { resolve, asked } = systemThat(() => new Promise((done) => (release = done)));
    const lookup = shared(resolve);
    const waiting = [lookup('a.test'), lookup('b.test'), lookup('a.test')];
    expect(asked).toEqual(['a.test', 'b.test']);
    release();
    void waiting[0]!.then(() => undefined);
    await waiting[1];
    await aTurn();
    void lookup('b.test');
    expect(asked).toEqual(['a.test', 'b.test', 'b.test']);
  });

  it('lets no tenant wait for the look-up of another', () => {
    const { resolve, asked } = systemThat(() => new Promise(() => undefined));
    const lookup = shared(resolve);
    void lookup('a.test', 'one');
    void lookup('a.test', 'two');
    void lookup('a.test', 'one');
    expect(asked).toEqual(['a.test', 'a.test']);
  });

  it('looks a name up again after a failure', async () => {
    let times = 0;
    const lookup = shared(() => Promise.reject(new Error(`failure ${++times}`)));
    await expect(lookup('a.test')).rejects.toThrow('failure 1');
    await expect(lookup('a.test')).rejects.toThrow('failure 2');
  });
});

describe('a sender', () => {
  it('reaches one host while the look-ups of a hundred others hang, which end by the connect timeout', async () => {
    const server = await LoopbackServer.start(answer(200));
    const dns = await dnsWhere((name) => (name.startsWith('silent') ? 'silent' : '127.0.0.1'));
    const sender = new HttpSender({
      rules: AddressRules.parse('127.0.0.0/8'),
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      maxConnectionsPerOrigin: 16,
      resolve: targetResolver({ connectTimeoutMs: 60_000, servers: [dns.server] }),
    });
    stops.push(
      () => sender.close(),
      () => server.stop(),
    );
    const send = (host: string) =>
      sender.send({
        tenantId: 't',
        url: `http://${host}:${server.port}/`,
        headers: {},
        body: Buffer.from('{}'),
        timeoutMs: 5_000,
      });
    const silent = Array.from({ length: 300 }, (_, index) => send(`silent-${index % 100}.example.test`));
    let ended = 0;
    for (const result of silent) void result.then(() => ended++);

    expect(await send('quick.example.test')).toMatchObject({ statusCode: 200 });
    expect(ended).toBe(0);
    // Three connections a name share its look-up: one question for each family.
    expect(dns.asked.filter((name) => name === 'silent-0.example.test')).toHaveLength(2);
    for (const result of await Promise.all(silent)) expect(result).toMatchObject({ code: 'connect_timeout' });
  });
});
