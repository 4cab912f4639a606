import type { LookupAddress } from 'node:dns';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpSender } from '../../../src/delivery/http-sender.js';
import type { ResolveAddresses } from '../../../src/delivery/target-resolver.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { answer, LoopbackServer } from './loopback-server.js';

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function aServer(): Promise<LoopbackServer> {
  const server = await LoopbackServer.start(answer(200));
  stops.push(() => server.stop());
  return server;
}

async function send(url: string, allow: string, resolve?: ResolveAddresses) {
  const sender = new HttpSender({
    rules: AddressRules.parse(allow),
    connectTimeoutMs: 500,
    maxConnectionsPerOrigin: 2,
    ...(resolve && { resolve }),
  });
  stops.push(() => sender.close());
  return sender.send({ url, headers: {}, body: Buffer.from('{}'), timeoutMs: 2_000 });
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
    ['169.254.169.254', '169.254.169.254'],
  ])('is refused as a literal: %s', async (host, named) => {
    const server = await aServer();
    expect(await send(`http://${host}:${server.port}/`, '')).toMatchObject({
      kind: 'failure',
      code: 'blocked_target',
      message: `${named} is not a public address; ALLOW_TARGET_RANGES can allow it`,
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
    expect(await send(url, '', resolvesTo(...addresses))).toMatchObject({
      code: 'blocked_target',
      message: `${refused} (an address of hooks.example.test) is not a public address; ALLOW_TARGET_RANGES can allow it`,
    });
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
