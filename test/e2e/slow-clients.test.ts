import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { answersIn, openRaw, RawConnection } from '../support/raw-http.js';
import { waitFor } from '../support/wait-for.js';

/** Clients that take their time, on a server that has a hundredth of the patience. */

const CONNECTIONS = 20;
const LARGE = 12 * 1024 * 1024;
/** Where a client is slow with something else than its request. */
const PATIENT = { headersMs: 30_000, requestMs: 30_000 };
const MIB = 1024 * 1024;

let posthorn: Posthorn;
let tenant: TestTenant;
const opened: RawConnection[] = [];

async function start(limits: object = {}, env: Record<string, string> = {}): Promise<void> {
  posthorn = await startPosthorn({
    env: { MAX_PAYLOAD_BYTES: String(2 * LARGE), ...env },
    limits: { headersMs: 200, requestMs: 400, checkMs: 20, keepAliveMs: 60_000, ...limits },
  });
  tenant = await posthorn.tenant();
}
afterEach(async () => {
  for (const { socket } of opened.splice(0)) socket.destroy();
  await posthorn.stop();
});

function open(text = ''): RawConnection {
  const connection = openRaw(posthorn.url, text);
  opened.push(connection);
  return connection;
}

const answersOthers = async (): Promise<void> => {
  expect((await posthorn.anonymous.request('GET', '/ready')).status).toBe(200);
};
const headOf = (length: number): string =>
  [
    'POST /api/v1/events HTTP/1.1',
    'host: a',
    'content-type: application/json',
    `authorization: Bearer ${tenant.apiKey}`,
    `content-length: ${length}`,
    '\r\n',
  ].join('\r\n');

/** A byte now and then, as long as somebody listens. */
function drip({ socket }: RawConnection, byte: string): void {
  const dripping = setInterval(() => socket.write(byte), 10);
  socket.once('close', () => clearInterval(dripping));
}

it.each<[string, () => string, string]>([
  ['says nothing', () => '', ''],
  ['stops in the middle of a line', () => 'GET /rea', ''],
  ['sends a header now and then', () => 'GET /ready HTTP/1.1\r\nhost: a\r\n', 'a: b\r\n'],
  ['stops before its body', () => headOf(100), ''],
  ['sends a byte of its body now and then', () => headOf(100_000), ' '],
  [
    'sends a chunk of a byte now and then',
    () => headOf(1).replace('content-length: 1', 'transfer-encoding: chunked'),
    '1\r\n \r\n',
  ],
])('a client that %s is cut off with 408', async (_, text, drop) => {
  await start();
  const connection = open(text());
  if (drop !== '') drip(connection, drop);
  const answers = answersIn(await connection.closed);
  expect(answers.map(({ status }) => status)).toEqual([408]);
  expect(answers[0]!.headers).toMatchObject({ connection: 'close', 'cache-control': 'no-store' });
  expect(JSON.parse(answers[0]!.body)).toMatchObject({ code: 'request_timeout' });
  await answersOthers();
});

it('a client that is slow with its second request is cut off as well', async () => {
  await start();
  const connection = open('GET /ready HTTP/1.1\r\nhost: a\r\n\r\n');
  await waitFor(() => connection.said().includes('ready'), { what: 'the first answer' });
  connection.socket.write('GET /re');
  expect(answersIn(await connection.closed).map(({ status }) => status)).toEqual([200, 408]);
});

it('a client with nothing more to ask is let go after a while', async () => {
  await start({ keepAliveMs: 50 });
  const connection = open('GET /ready HTTP/1.1\r\nhost: a\r\n\r\n');
  expect(answersIn(await connection.closed).map(({ status }) => status)).toEqual([200]);
});

/** The server's ends of its connections. */
function serverSockets(): Set<Socket> {
  const sockets = new Set<Socket>();
  posthorn.app.getHttpServer().on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

const unsent = (sockets: Set<Socket>): number =>
  [...sockets].reduce((sum, { writableLength }) => sum + writableLength, 0);

/** An event whose answer no buffer of the kernel takes whole. */
async function largeEvent(): Promise<string> {
  const payload = 'x'.repeat(LARGE);
  return (await tenant.request('POST', '/events', { event_type: 'large', payload })).body.id;
}

/** @param times how often it asks at once, on one connection */
function askAndDoNotRead(eventId: string, times = 1): void {
  const get = `GET /api/v1/events/${eventId} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${tenant.apiKey}\r\n\r\n`;
  open(get.repeat(times)).socket.pause();
}

it('a client that does not read its answer is cut off, and holds no memory then', async () => {
  await start({ ...PATIENT, answerMs: 300, unsentBytes: 100 * LARGE });
  const sockets = serverSockets();
  const eventId = await largeEvent();
  askAndDoNotRead(eventId);
  const waiting = await waitFor(() => [...sockets].find((socket) => socket.writableLength > 0), {
    what: 'an answer to wait',
  });
  await waitFor(() => waiting.destroyed, { what: 'it to be cut off' });
  const { body } = await tenant.request('GET', `/events/${eventId}`);
  expect(body.payload).toHaveLength(LARGE);
});

it('clients that do not read their answers hold so much memory together, and no more', async () => {
  await start({ ...PATIENT, answerMs: 60_000, unsentBytes: 2 * LARGE });
  const sockets = serverSockets();
  const eventId = await largeEvent();
  for (let count = 0; count < 8; count += 1) askAndDoNotRead(eventId);
  await waitFor(() => sockets.size >= 8, { what: 'all to be connected' });
  await waitFor(() => unsent(sockets) > LARGE && unsent(sockets) <= 2 * LARGE && sockets.size < 8, {
    what: 'the oldest to be cut off',
  });
  const { body } = await tenant.request('GET', `/events/${eventId}`);
  expect(body.payload).toHaveLength(LARGE);
});

it('answers that wait for others on their connection count as soon as they are there', async () => {
  await start({ ...PATIENT, checkMs: 60_000, unsentBytes: 2 * LARGE });
  const sockets = serverSockets();
  const eventId = await largeEvent();
  const before = new Set(sockets);
  for (let count = 0; count < 4; count += 1) askAndDoNotRead(eventId, 4);
  await waitFor(() => sockets.size >= before.size + 4, { what: 'all to be connected' });
  await waitFor(() => [...sockets].every((socket) => before.has(socket)), { what: 'all to be cut off' });
  // What was read, or cut off, counts no more.
  for (let count = 0; count < 4; count += 1) {
    const { body } = await tenant.request('GET', `/events/${eventId}`);
    expect(body.payload).toHaveLength(LARGE);
  }
});

it('clients that never finish a request make room first, and for good', async () => {
  await start({ ...PATIENT, connections: CONNECTIONS });
  const sockets = serverSockets();
  const get = 'GET /ready HTTP/1.1\r\nhost: a\r\n\r\n';
  const healthy = open(get);
  await waitFor(() => healthy.said().includes('ready'), { what: 'the first answer' });
  const unfinished: RawConnection[] = [];
  for (let count = 0; count < CONNECTIONS * 3; count += 1) {
    const connection = open('G');
    unfinished.push(connection);
    await once(connection.socket, 'connect');
  }
  const newest = open(`${get.slice(0, -2)}connection: close\r\n\r\n`);
  expect(answersIn(await newest.closed).map(({ status }) => status)).toEqual([200]);
  await Promise.all(unfinished.slice(0, CONNECTIONS * 2).map(({ closed }) => closed));
  expect(sockets.size).toBeLessThan(CONNECTIONS);
  healthy.socket.write(get);
  await waitFor(() => answersIn(healthy.said()).length === 2, { what: 'the second answer' });
});

it('idle connections make room for others when there are too many', async () => {
  await start({ ...PATIENT, connections: CONNECTIONS });
  for (let count = 0; count < CONNECTIONS * 3; count += 1) {
    const connection = open('GET /ready HTTP/1.1\r\nhost: a\r\n\r\n');
    await Promise.race([
      connection.closed,
      waitFor(() => connection.said().includes('ready'), { what: 'its answer' }),
    ]);
  }
  await waitFor(
    async () => {
      const another = open('GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      return (await another.closed).includes('ready');
    },
    { what: 'another connection to be served' },
  );
});

it('silent connections take no more places than there are, and give them back', async () => {
  await start({ connections: CONNECTIONS });
  const sockets = serverSockets();
  const silent = Array.from({ length: CONNECTIONS * 3 }, () => open());
  await Promise.race(silent.map(({ closed }) => closed));
  expect(sockets.size).toBeLessThanOrEqual(CONNECTIONS);
  await Promise.all(silent.map(({ closed }) => closed));
  await answersOthers();
});

it('one tenant with unfinished batches does not keep the events of another out', async () => {
  await start(PATIENT);
  const other = await posthorn.tenant('another');
  const head = headOf(LARGE).replace('/events', '/events/batch');
  const greedy = Array.from({ length: 24 }, () => open(`${head}${' '.repeat(LARGE / 2)}`));
  await waitFor(() => greedy.some((connection) => connection.said().includes(' 429 ')), {
    what: 'it to be refused',
  });
  expect((await other.request('POST', '/events', { event_type: 'a', payload: 1 })).status).toBe(202);
});

it.each([
  ['MAX_PAYLOAD_BYTES', 64, 'POST /api/v1/events ', 202],
  // Too few events, in many bytes: what counts is that it was read.
  ['MAX_BATCH_BYTES', 256, 'POST /api/v1/events/batch ', 422],
])('a body as large as the largest %s permits, %i MiB, finds room', async (name, mib, line, status) => {
  await start(PATIENT, { [name]: String(mib * MIB) });
  const event = '{"event_type":"a","payload":1}';
  const body = status === 202 ? event : '{"events":[]}';
  const { socket, closed } = open(
    headOf(mib * MIB)
      .replace('POST /api/v1/events ', line)
      .replace('host: a', 'host: a\r\nconnection: close'),
  );
  await once(socket, 'connect');
  const blank = Buffer.alloc(MIB, ' ');
  for (let sent = 1; sent < mib; sent += 1) {
    await new Promise((written) => socket.write(blank, written));
  }
  socket.write(body.padStart(MIB));
  expect(answersIn(await closed).map((answer) => answer.status)).toEqual([status]);
});
