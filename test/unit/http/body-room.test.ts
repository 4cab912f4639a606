import Fastify, { type FastifyInstance } from 'fastify';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROBLEMS, Problem } from '../../../src/domain/errors.js';
import { BodyRoom } from '../../../src/http/body-room.js';
import { acceptBodies } from '../../../src/http/json-body.js';
import { waitFor } from '../../support/wait-for.js';

const ROOM = 120_000;
const LIMIT = 40_000;
const CHUNKED = 'transfer-encoding: chunked';

let server: FastifyInstance;
let received: Buffer[];
let refusals: unknown[];
const sockets: Socket[] = [];

async function start(size: number, limits: object = {}): Promise<void> {
  server = Fastify({ bodyLimit: LIMIT });
  const room = new BodyRoom({
    size,
    largestBody: LIMIT,
    limits: { requestMs: 60_000, bodyBytesPerSecond: 1, checkMs: 10, ...limits },
  });
  room.watch(server);
  server.addHook('onRequest', (request, _, done) => {
    request.caller = { kind: 'tenant', tenantId: String(request.headers['x-tenant']) } as never;
    done(request.headers['x-tenant'] === 'unknown' ? new Problem('unauthorized', 'no key') : undefined);
  });
  acceptBodies(server, room);
  received = [];
  refusals = [];
  server.setErrorHandler((error, _, reply) => {
    refusals.push(error instanceof Problem ? error.code : error);
    // As the real one: the rest is read, for the client to see its answer.
    if (reply.raw.shouldKeepAlive) void reply.removeHeader('connection');
    return reply.status(error instanceof Problem ? PROBLEMS[error.code].status : 500).send();
  });
  server.post('/', { config: { takesPayloads: true } }, (request) => {
    received.push(request.rawBody!);
    return {};
  });
  server.server.on('checkContinue', (request, response) => server.routing(request, response));
  await server.listen({ port: 0, host: '127.0.0.1' });
}
beforeEach(() => start(ROOM));
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.close();
});

async function restart(...how: Parameters<typeof start>): Promise<void> {
  await server.close();
  await start(...how);
}

const json = (bytes: number): string => JSON.stringify('x'.repeat(bytes - 2));
const post = async (bytes: number, tenant = 'a'): Promise<number> => {
  const headers = { 'content-type': 'application/json', 'x-tenant': tenant };
  const { port } = server.server.address() as AddressInfo;
  return (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body: json(bytes) })).status;
};

/** Sends the head of a request, and so many bytes of its body. */
async function begin(bytes: number, tenant = 'a', framing = `content-length: ${LIMIT}`): Promise<Socket> {
  const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => socket.destroy());
  await once(socket, 'connect');
  const head = [
    'POST / HTTP/1.1',
    'host: a',
    'content-type: application/json',
    `x-tenant: ${tenant}`,
    framing,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  socket.write('x'.repeat(bytes));
  return socket;
}

const answer = async (socket: Socket): Promise<string> =>
  String((await once(socket, 'data'))[0]).slice(9, 12);

describe('BodyRoom', () => {
  it.each([
    [LIMIT, 200],
    [LIMIT + 1, 413],
  ])('answers a body of %i bytes with %i', async (bytes, status) => {
    expect(await post(bytes)).toBe(status);
  });

  it('refuses what does not fit beside bodies that its tenant has begun, and takes it when they are gone', async () => {
    const slow = await begin(35_000);
    await waitFor(async () => (await post(LIMIT)) === 429, { what: 'the share to be taken' });
    expect(await post(1_000)).toBe(200);
    slow.destroy();
    await waitFor(async () => (await post(LIMIT)) === 200, { what: 'the share to be given back' });
  });

  it('refuses bodies of a tenant that grow beyond its share together', async () => {
    const all = await Promise.all(Array.from({ length: 3 }, () => begin(0, 'a', CHUNKED)));
    const answers = all.map(answer);
    for (const socket of all) socket.write(`7530\r\n${'x'.repeat(30_000)}\r\n`);
    expect(await Promise.race(answers)).toBe('429');
  });

  it.each([1, 2, 6])('keeps a place for others whatever %i tenants send', async (tenants) => {
    const begun = Array.from({ length: 70 }, (_, index) => begin(0, `greedy-${index % tenants}`, CHUNKED));
    for (const socket of await Promise.all(begun)) socket.write(`7d0\r\n${'x'.repeat(2_000)}\r\n`);
    await waitFor(() => refusals.length > 15, { what: 'many to be refused' });
    expect(await post(ROOM / (tenants + 1) / 4, 'modest')).toBe(200);
  });

  it('takes a largest body beside another tenant, even a byte at a time', async () => {
    await restart(1);
    const all = await Promise.all(['a', 'b'].map((tenant) => begin(0, tenant, CHUNKED)));
    const answers = all.map(answer);
    for (const socket of all) socket.write(`${'1\r\n1\r\n'.repeat(LIMIT)}0\r\n\r\n`);
    expect(await Promise.all(answers)).toEqual(['200', '200']);
  });

  it('hands over the bytes of pieces of all sizes in their order', async () => {
    const text = JSON.stringify(Array.from({ length: 6_000 }, (_, index) => index).join('-'));
    let chunks = '';
    for (let at = 0, size = 1; at < text.length; at += size, size = (size * 7) % 6_007) {
      const chunk = text.slice(at, at + size);
      chunks += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
    }
    (await begin(0, 'a', CHUNKED)).write(`${chunks}0\r\n\r\n`);
    await waitFor(() => received.length > 0, { what: 'the body' });
    expect(received[0]!.toString()).toBe(text);
  });

  it('gives everything back', async () => {
    for (let round = 0; round < 20; round++) expect(await post(LIMIT)).toBe(200);
  });

  it.each([
    ['hangs up', ''],
    ['sends no chunk', 'no chunk\r\n'],
  ])('calls it the fault of a client that %s amid its body', async (_, last) => {
    const socket = await begin(0, 'a', CHUNKED);
    socket.write('1\r\n \r\n');
    await waitFor(async () => (await post(10)) === 200, { what: 'it to be received' });
    if (last === '') socket.destroy();
    else socket.write(last);
    await waitFor(() => refusals.length > 0, { what: 'it to be refused' });
    expect(refusals).toEqual(['malformed_request']);
  });

  it('lets a body take its time as long as it keeps the pace, and cuts it off when it stalls', async () => {
    await restart(ROOM, { requestMs: 200, bodyBytesPerSecond: 100 });
    const socket = await begin(0, 'a', CHUNKED);
    const answered = answer(socket);
    const begun = performance.now();
    const sending = setInterval(() => socket.write(`64\r\n${' '.repeat(100)}\r\n`), 10);
    await waitFor(() => performance.now() - begun > 800, { what: 'four times the patience to pass' });
    expect(refusals).toEqual([]);
    clearInterval(sending);
    expect(await answered).toBe('408');
    // What was sent in good time does not pay for silence, of which it would be more than a minute.
    expect(performance.now() - begun).toBeLessThan(30_000);
  });

  it.each(['a', 'unknown'])('cuts off who drips a body that was refused to %s', async (tenant) => {
    await restart(ROOM, { requestMs: 200, bodyBytesPerSecond: 1_000 });
    const socket = await begin(0, tenant, `content-length: ${LIMIT + 1}`);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const status = answer(socket);
    const dripping = setInterval(() => socket.write(' '.repeat(50)), 10);
    expect(await status).toBe(tenant === 'a' ? '413' : '401');
    await closed;
    clearInterval(dripping);
  });

  it.each([
    ['a', 10, ['100', '200']],
    ['a', LIMIT + 1, ['413']],
    ['unknown', 10, ['401']],
  ])('tells a client of %s that has %i bytes whether to send them', async (tenant, bytes, answers) => {
    const socket = await begin(0, tenant, `content-length: ${bytes}\r\nexpect: 100-continue`);
    const seen = [await answer(socket)];
    if (answers.length > 1) {
      const next = answer(socket);
      socket.write(json(bytes));
      seen.push(await next);
    }
    expect(seen).toEqual(answers);
  });
});
