import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { HttpSender, type OutgoingRequest } from '../../../src/delivery/http-sender.js';
import { MAX_IDLE_OF_A_TENANT } from '../../../src/delivery/idle-connections.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { answer, type Behaviour, LoopbackServer } from './loopback-server.js';

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(
    stops
      .splice(0)
      .reverse()
      .map((stop) => stop()),
  );
});

/** A server, and a function that sends one request to it. */
async function aPair(behave: Behaviour) {
  const server = await LoopbackServer.start(behave);
  const sender = new HttpSender({
    rules: AddressRules.parse('127.0.0.0/8'),
    connectTimeoutMs: 2_000,
    maxConnectionsPerOrigin: 500,
  });
  stops.push(
    () => server.stop(),
    () => sender.close(),
  );
  const send = (changes: Partial<OutgoingRequest> = {}) =>
    sender.send({
      tenantId: 'a',
      url: server.url,
      headers: {},
      body: Buffer.from('{}'),
      timeoutMs: 5_000,
      ...changes,
    });
  return { server, send };
}

const SECOND_ANSWER = 'HTTP/1.1 200 OK\r\nx-whose: of an earlier request\r\ncontent-length: 0\r\n\r\n';

it('tenants, credentials and origins share no connection, and the same ones do', async () => {
  const { server, send } = await aPair(answer(200));
  const requests = [
    {},
    { tenantId: 'b' },
    { credential: 'c' },
    { tenantId: 'b', credential: 'c' },
    { url: server.url.replace('127.0.0.1', 'localhost') },
  ];
  for (const request of requests) await send(request);
  expect(server.connections).toBe(requests.length);
  for (const request of requests) await send(request);
  expect(server.connections).toBe(requests.length);
});

it.each<[string, Behaviour]>([
  [
    'with the answer',
    (socket) => socket.write(`HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n${SECOND_ANSWER}`),
  ],
  ['half with the answer', (socket) => socket.write('HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\nH')],
  [
    'right after the answer',
    (socket, request) => {
      answer(500)(socket, request);
      setImmediate(() => socket.write(SECOND_ANSWER));
    },
  ],
])('a second answer %s is the answer to no other request', async (_, behave) => {
  const { server, send } = await aPair(behave);
  for (let i = 0; i < 5; i += 1) {
    expect(await send()).toMatchObject({ kind: 'response', statusCode: 500 });
    await vi.waitFor(() => expect(server.open.size).toBe(0), 60_000);
  }
  expect(server.connections).toBe(5);
});

it('a server that sends what nothing asked for, once, is not trusted with a second request', async () => {
  const { server, send } = await aPair(answer(200));
  await Promise.all([send(), send(), send()]);
  expect(server.open.size).toBe(3);
  for (const socket of [...server.open].slice(0, 1)) socket.write('H');
  await vi.waitFor(() => expect(server.open.size).toBe(0), 60_000);

  for (let i = 0; i < 5; i += 1) expect(await send()).toMatchObject({ statusCode: 200 });
  expect(server.connections).toBe(8);
  // Another tenant's requests are another matter.
  for (let i = 0; i < 5; i += 1) expect(await send({ tenantId: 'b' })).toMatchObject({ statusCode: 200 });
  expect(server.connections).toBe(9);
});

it('a request that a kept connection answers before it was sent goes over a new one', async () => {
  let connections = 0;
  const server = createServer((socket) => {
    const isFirst = ++connections === 1;
    socket.on('error', () => undefined);
    stops.push(() => Promise.resolve(void socket.destroy()));
    socket.once('data', () => {
      if (!isFirst) socket.write('HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n');
      else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      // At the first bytes of the next request, of which no more is taken from the system.
      socket.once('data', () => {
        socket.pause();
        if (isFirst) socket.write(SECOND_ANSWER);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(() => new Promise((resolve) => server.close(() => resolve())));
  const { send } = await aPair(answer(200));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  expect(await send({ url })).toMatchObject({ statusCode: 200 });
  const body = Buffer.alloc(64 * 1024 * 1024, 'x');
  expect(await send({ url, body })).toMatchObject({ kind: 'response', statusCode: 500 });
  expect(connections).toBe(2);
});

it('unused connections of a tenant are bounded, and the one that waited longest is closed', async () => {
  const { server, send } = await aPair(answer(200));
  await Promise.all(Array.from({ length: MAX_IDLE_OF_A_TENANT + 20 }, () => send()));
  await vi.waitFor(() => expect(server.open.size).toBe(MAX_IDLE_OF_A_TENANT), 60_000);
});
