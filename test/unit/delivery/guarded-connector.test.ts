import type { LookupAddress } from 'node:dns';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MAX_ADDRESSES_TRIED } from '../../../src/delivery/connect-tcp.js';
import { guardedConnector } from '../../../src/delivery/guarded-connector.js';
import { HttpSender } from '../../../src/delivery/http-sender.js';
import { type ResolveAddresses, targetResolver } from '../../../src/delivery/target-resolver.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { type Knowledge, LoopbackDns } from './loopback-dns.js';
import { answer, LoopbackServer } from './loopback-server.js';

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function aServer(behave = answer(200)): Promise<LoopbackServer> {
  const server = await LoopbackServer.start(behave);
  stops.push(() => server.stop());
  return server;
}

/** `refusals` is what the sender told the operator. */
function aSender(allow: string, resolve?: ResolveAddresses) {
  const refusals: [string, string][] = [];
  const sender = new HttpSender({
    rules: AddressRules.parse(allow),
    connectTimeoutMs: 500,
    maxConnectionsPerOrigin: 2,
    onRefused: (...refusal) => refusals.push(refusal),
    ...(resolve && { resolve }),
  });
  stops.push(() => sender.close());
  const send = (url: string) =>
    sender.send({ tenantId: 't', url, headers: {}, body: Buffer.from('{}'), timeoutMs: 2_000 });
  return { send, refusals };
}

function send(url: string, allow: string, resolve?: ResolveAddresses) {
  return aSender(allow, resolve).send(url);
}

/** A resolver over a DNS server that answers this. */
async function dnsThat(knowledgeOf: (name: string) => Knowledge) {
  const dns = await LoopbackDns.start(knowledgeOf);
  stops.push(() => dns.stop());
  return { dns, resolve: targetResolver({ connectTimeoutMs: 500, servers: [dns.server] }) };
}

const resolvesTo =
  (...addresses: string[]): ResolveAddresses =>
  () =>
    Promise.resolve(addresses.map(toAnswer));

function toAnswer(address: string): LookupAddress {
  return { address, family: address.includes(':') ? 6 : 4 };
}

describe('an address that is not public', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['127.0.0.1.', '127.0.0.1'],
    ['[::1]', '::1'],
    ['[::ffff:127.0.0.1]', '::ffff:7f00:1'],
    ['[64:ff9b::127.0.0.1]', '64:ff9b::7f00:1'],
    ['[::127.0.0.1]', '::7f00:1'],
    ['%31%32%37.1', '127.0.0.1'],
    ['１２７。１', '127.0.0.1'],
    ['0', '0.0.0.0'],
    ['168.63.129.16', '168.63.129.16'],
    ['169.254.169.254', '169.254.169.254'],
  ])('is refused as a literal: %s', async (host, named) => {
    const server = await aServer();
    expect(await send(`http://${host}:${server.port}/`, '')).toMatchObject({
      kind: 'failure',
      code: 'blocked_target',
      message: `${named} is not a public address; the operator can allow it with ALLOW_TARGET_RANGES`,
    });
    expect(server.connections).toBe(0);
  });

  it.each([
    ['the only answer', ['127.0.0.1'], '127.0.0.1'],
    ['the last answer', ['93.184.215.14', '127.0.0.1'], '127.0.0.1'],
    ['the first answer', ['10.0.0.1', '93.184.215.14'], '10.0.0.1'],
    ['an IPv6 answer', ['93.184.215.14', 'fd00::1'], 'fd00::1'],
    ['a mapped answer', ['::ffff:127.0.0.1'], '::ffff:127.0.0.1'],
  ])('is refused in DNS: %s', async (_, addresses, refused) => {
    const server = await aServer();
    const url = `http://hooks.example.test:${server.port}/`;
    const sender = aSender('', resolvesTo(...addresses));
    expect(await sender.send(url)).toMatchObject({
      code: 'blocked_target',
      message:
        'hooks.example.test has an address that is not public; the operator can allow it with ALLOW_TARGET_RANGES',
    });
    expect(sender.refusals).toEqual([['hooks.example.test', refused]]);
    expect(server.connections).toBe(0);
  });

  it('is refused for TLS as well', async () => {
    const server = await aServer();
    const url = `https://hooks.example.test:${server.port}/`;
    expect(await send(url, '', resolvesTo('127.0.0.1'))).toMatchObject({ code: 'blocked_target' });
    expect(await send(`https://127.0.0.1:${server.port}/`, '')).toMatchObject({ code: 'blocked_target' });
    expect(server.connections).toBe(0);
  });

  it('is refused by the real resolver', async () => {
    const server = await aServer();
    expect(await send(`http://localhost:${server.port}/`, '')).toMatchObject({ code: 'blocked_target' });
    expect(server.connections).toBe(0);
  });

  it('is called when its range is allowed', async () => {
    const server = await aServer();
    expect(await send(server.url, '10.0.0.0/8, 127.0.0.0/8')).toMatchObject({ statusCode: 200 });
    expect(server.requests).toHaveLength(1);
  });
});

describe('a host name', () => {
  it('is resolved once a connection, and the address that was judged is the one that is called', async () => {
    const server = await aServer();
    const answers = [['127.0.0.1'], ['127.0.0.2']];
    const resolve: ResolveAddresses = () => Promise.resolve((answers.shift() ?? []).map(toAnswer));
    expect(await send(`http://rebinding.test:${server.port}/`, '127.0.0.1/32', resolve)).toMatchObject({
      statusCode: 200,
    });
    expect(answers).toEqual([['127.0.0.2']]);
  });

  it('falls back to its other addresses', async () => {
    const server = await aServer();
    const url = `http://two.test:${server.port}/`;
    expect(await send(url, '127.0.0.0/8', resolvesTo('127.0.0.9', '127.0.0.1'))).toMatchObject({
      statusCode: 200,
    });
  });

  it('has a bounded number of addresses that are tried, and all are judged', async () => {
    const server = await aServer();
    const url = `http://many.test:${server.port}/`;
    const closed = Array.from({ length: MAX_ADDRESSES_TRIED }, (_, index) => `127.0.1.${index}`);
    const [, ...oneLess] = closed;
    expect(await send(url, '127.0.0.0/8', resolvesTo(...oneLess, '127.0.0.1'))).toMatchObject({
      statusCode: 200,
    });
    expect(await send(url, '127.0.0.0/8', resolvesTo(...closed, '127.0.0.1'))).toMatchObject({
      code: 'connection_refused',
    });
    expect(await send(url, '127.0.0.0/8', resolvesTo(...closed, '10.0.0.1'))).toMatchObject({
      code: 'blocked_target',
    });
  });

  it('stays in the Host header', async () => {
    const server = await aServer();
    await send(`http://hooks.example.test:${server.port}/`, '127.0.0.1/32', resolvesTo('127.0.0.1'));
    expect(server.requests[0]).toContain(`host: hooks.example.test:${server.port}\r\n`);
  });

  it('stays in the TLS server name', async () => {
    const server = await aServer();
    await send(`https://hooks.example.test:${server.port}/`, '127.0.0.1/32', resolvesTo('127.0.0.1'));
    expect(server.requests[0]).toContain('hooks.example.test');
  });

  it.each([
    ['is unknown', () => Promise.reject(Object.assign(new Error(), { code: 'ENOTFOUND' })), ' (ENOTFOUND)'],
    ['has no address', resolvesTo(), ''],
  ])('that %s is a failure', async (_, resolve, code) => {
    expect(await send('http://nowhere.test/', '', resolve)).toMatchObject({
      code: 'dns',
      message: `nowhere.test does not resolve to an address${code}`,
    });
  });

  it('that DNS is silent about is a connect timeout', async () => {
    expect(await send('http://silent.test/', '', () => new Promise(() => undefined))).toMatchObject({
      code: 'connect_timeout',
      message: 'no connection to silent.test within the connect timeout',
    });
  });

  it('whose addresses all refuse is a refusal', async () => {
    const server = await aServer();
    const { port } = server;
    await server.stop();
    const url = `http://two.test:${port}/`;
    expect(await send(url, '127.0.0.0/8', resolvesTo('127.0.0.1', '127.0.0.2'))).toMatchObject({
      code: 'connection_refused',
      message: `connection refused by 127.0.0.1:${port}`,
    });
  });
});

describe('DNS', () => {
  it.each<[string, Knowledge]>([
    ['an IPv4 address', '10.0.0.5'],
    ['an IPv4 address among others', { a: ['127.0.0.1', '10.0.0.5', '127.0.0.1'] }],
    ['an IPv6 address', { aaaa: ['fd00:0:0:0:0:0:0:1'] }],
    ['an IPv6 address next to a good IPv4 one', { a: ['127.0.0.1'], aaaa: ['fd00:ec2:0:0:0:0:0:254'] }],
    ['a mapped address', { a: ['127.0.0.1'], aaaa: ['0:0:0:0:0:ffff:a9fe:a9fe'] }],
    ['an address behind NAT64', { aaaa: ['64:ff9b:0:0:0:0:a00:5'] }],
    ['an alias of a private name', { cname: 'db.internal.test', a: ['10.0.0.5'] }],
    ['an alias with one private address', { cname: 'db.internal.test', a: ['127.0.0.1', '10.0.0.5'] }],
  ])('that answers with %s is the end of it', async (_, known) => {
    const server = await aServer();
    const { resolve } = await dnsThat(() => known);
    const sender = aSender('127.0.0.1', resolve);
    expect(await sender.send(`http://hooks.example.test:${server.port}/`)).toMatchObject({
      code: 'blocked_target',
    });
    expect(sender.refusals).toHaveLength(1);
    expect(server.connections).toBe(0);
  });

  it('that follows an alias to a good address is believed', async () => {
    const server = await aServer();
    const { resolve } = await dnsThat(() => ({ cname: 'edge.example.test', a: ['127.0.0.1'] }));
    const result = await send(`http://hooks.example.test:${server.port}/`, '127.0.0.1', resolve);
    expect(result).toMatchObject({ statusCode: 200 });
  });

  it('that changes its answer with every question cannot move the socket', async () => {
    const server = await aServer();
    const { dns, resolve } = await dnsThat(() => (dns.asked.length <= 2 ? '127.0.0.1' : '10.0.0.5'));
    const connect = guardedConnector({
      rules: AddressRules.parse('127.0.0.1'),
      connectTimeoutMs: 500,
      resolve,
    });
    const socket = await new Promise<Socket>((done, failed) => {
      const target = {
        tenantId: 't',
        hostname: 'rebinding.test',
        protocol: 'http:',
        port: String(server.port),
      };
      const opener = { kind: 'delivery', hold: () => undefined } as const;
      connect(target, opener, (error, opened) =>
        opened ? done(opened.socket) : failed(error ?? new Error()),
      );
    });
    expect(socket.remoteAddress).toBe('127.0.0.1');
    socket.destroy();
    // A and AAAA, once.
    expect(dns.asked).toEqual(['rebinding.test', 'rebinding.test']);
  });

  it('is asked again for every connection, and a name that has turned private is refused', async () => {
    const server = await aServer((socket, request) => {
      answer(200, ['connection: close'])(socket, request);
      socket.end();
    });
    let address: Knowledge = '127.0.0.1';
    const { resolve } = await dnsThat(() => address);
    const { send } = aSender('127.0.0.1', resolve);
    const url = `http://rebinding.test:${server.port}/`;
    expect(await send(url)).toMatchObject({ statusCode: 200 });
    address = '10.0.0.5';
    expect(await send(url)).toMatchObject({ code: 'blocked_target' });
    address = '127.0.0.1';
    expect(await send(url)).toMatchObject({ statusCode: 200 });
    expect(server.connections).toBe(2);
  });

  it('is not asked while a connection is kept, which goes where it was judged to go', async () => {
    const server = await aServer();
    let address: Knowledge = '127.0.0.1';
    const { dns, resolve } = await dnsThat(() => address);
    const { send } = aSender('127.0.0.1', resolve);
    const url = `http://rebinding.test:${server.port}/`;
    await send(url);
    address = '10.0.0.5';
    expect(await send(url)).toMatchObject({ statusCode: 200 });
    expect(server.connections).toBe(1);
    expect(dns.asked).toHaveLength(2);

    for (const socket of server.open) socket.resetAndDestroy();
    expect(await send(url)).toMatchObject({ code: 'blocked_target' });
    expect(server.connections).toBe(1);
  });
});

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('of status %i to a private address is not followed', async (status) => {
    const hidden = await aServer();
    const server = await aServer(answer(status, [`location: http://127.0.0.1:${hidden.port}/`]));
    expect(await send(server.url, '127.0.0.1')).toMatchObject({ kind: 'response', statusCode: status });
    expect(hidden.connections).toBe(0);
  });
});

describe('a proxy of the environment', () => {
  afterEach(() => void vi.unstubAllEnvs());

  it.each(['http', 'https'])(
    'is never spoken to, and an address behind it is judged, with %s',
    async (scheme) => {
      const proxy = await aServer();
      const server = await aServer();
      const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'];
      for (const name of names.flatMap((each) => [each, each.toLowerCase()])) {
        vi.stubEnv(name, `http://127.0.0.1:${proxy.port}`);
      }
      for (const name of ['NO_PROXY', 'no_proxy']) vi.stubEnv(name, '');
      vi.stubEnv('NODE_USE_ENV_PROXY', '1');

      await send(`${scheme}://hooks.example.test:${server.port}/`, '127.0.0.1', resolvesTo('127.0.0.1'));
      expect(server.connections).toBe(1);
      const blocked = await send(`${scheme}://10.0.0.5/`, '127.0.0.1');
      expect(blocked).toMatchObject({ code: 'blocked_target' });
      expect(proxy.connections).toBe(0);
    },
  );
});
