import Fastify, { type FastifyInstance } from 'fastify';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROBLEMS, Problem } from '../../../src/domain/errors.js';
import { BodyRoom } from '../../../src/http/body-room.js';
import { acceptJson } from '../../../src/http/json-body.js';
import { waitFor } from '../../support/wait-for.js';

const ROOM = 64_000;
const LIMIT = 40_000;

let server: FastifyInstance;
const sockets: Socket[] = [];

beforeEach(async () => {
  server = Fastify({ bodyLimit: LIMIT });
  acceptJson(server, new BodyRoom(ROOM));
  server.setErrorHandler((error, _, reply) =>
    reply.status(error instanceof Problem ? PROBLEMS[error.code].status : 500).send(),
  );
  server.post('/', (request) => ({ bytes: request.rawBody?.length }));
  await server.listen({ port: 0, host: '127.0.0.1' });
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.close();
});

const json = (bytes: number): string => JSON.stringify('x'.repeat(bytes - 2));
const post = async (bytes: number): Promise<number> => {
  const headers = { 'content-type': 'application/json' };
  const { port } = server.server.address() as AddressInfo;
  return (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body: json(bytes) })).status;
};

/** Sends the head of a request, and so many bytes of its body. */
async function begin(bytes: number, framing = `content-length: ${LIMIT}`): Promise<Socket> {
  const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  await once(socket, 'connect');
  socket.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n${framing}\r\n\r\n`);
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

  it('refuses what does not fit beside bodies that others have begun, and takes it when they are gone', async () => {
    const slow = await begin(30_000);
    await waitFor(async () => (await post(35_000)) === 429, { what: 'the room to be taken' });
    expect(await post(1_000)).toBe(200);
    slow.destroy();
    await waitFor(async () => (await post(35_000)) === 200, { what: 'the room to be given back' });
  });

  it('refuses bodies that grow beyond it together', async () => {
    const all = await Promise.all(Array.from({ length: 3 }, () => begin(0, 'transfer-encoding: chunked')));
    const answers = all.map(answer);
    for (const socket of all) socket.write(`7530\r\n${'x'.repeat(30_000)}\r\n`);
    expect(await Promise.race(answers)).toBe('429');
  });

  it('counts what a piece of a body takes beside its bytes', async () => {
    const socket = await begin(0, 'transfer-encoding: chunked');
    socket.write('1\r\nx\r\n'.repeat(1_000));
    expect(await answer(socket)).toBe('429');
  });

  it('gives everything back', async () => {
    for (let round = 0; round < 20; round++) expect(await post(LIMIT)).toBe(200);
  });
});
