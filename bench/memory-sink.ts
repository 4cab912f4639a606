import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { answerCalls } from './program.js';

/**
 * Subscribers that do harm, in a process of their own, a port for each way of doing it. They listen on all of
 * 127.0.0.0/8, so that thousands of subscriptions can have a host each.
 */

const CHUNK = Buffer.alloc(64 * 1024, 'x');
const CHUNKED_HEAD = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
const DRIP_MS = 1_000;
const BACKLOG = 4_096;

export const BAD_WAYS = ['hang', 'endless', 'headers', 'drip', 'refuse', 'unroutable'] as const;
export type BadWay = (typeof BAD_WAYS)[number];

interface Tally {
  open: number;
  mostOpen: number;
  total: number;
}

const tallies: Record<string, Tally> = {};

/** What each does with a connection on which it has accepted a request. */
const ANSWERS: Record<'hang' | 'endless' | 'headers' | 'drip', (socket: Socket) => void> = {
  hang: (socket) => void socket.resume(),
  endless: (socket) => {
    socket.write(CHUNKED_HEAD);
    const chunk = Buffer.concat([
      Buffer.from(`${CHUNK.length.toString(16)}\r\n`),
      CHUNK,
      Buffer.from('\r\n'),
    ]);
    writeForever(socket, chunk);
  },
  headers: (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    writeForever(socket, Buffer.from(`x-more: ${'y'.repeat(1_000)}\r\n`));
  },
  drip: (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n');
    const timer = setInterval(() => socket.write('.'), DRIP_MS);
    socket.once('close', () => clearInterval(timer));
  },
};

const ports: Record<BadWay, number> = {
  hang: await serve('hang'),
  endless: await serve('endless'),
  headers: await serve('headers'),
  drip: await serve('drip'),
  refuse: await closedPort(),
  unroutable: await startBlackHole(),
};

async function serve(way: keyof typeof ANSWERS): Promise<number> {
  const tally: Tally = (tallies[way] = { open: 0, mostOpen: 0, total: 0 });
  const server = createServer((socket) => {
    tally.open++;
    tally.total++;
    tally.mostOpen = Math.max(tally.mostOpen, tally.open);
    socket.on('error', () => undefined); // it was to be expected
    socket.once('close', () => tally.open--);
    socket.once('data', () => ANSWERS[way](socket));
  });
  return listen(server);
}

async function listen(server: Server): Promise<number> {
  server.listen({ port: 0, host: '0.0.0.0', backlog: BACKLOG });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function writeForever(socket: Socket, bytes: Buffer): void {
  const write = (): void => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on('drain', write);
  write();
}

/** Nobody listens on it, and nobody else is likely to soon. */
async function closedPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * A port whose kernel drops connection requests, as a router without a route would: it listens in a thread that never
 * takes a connection, with a queue for one.
 */
async function startBlackHole(): Promise<number> {
  const script = `
    const { createServer } = require('node:net');
    const { parentPort } = require('node:worker_threads');
    const server = createServer().listen({ port: 0, host: '0.0.0.0', backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`;
  const thread = new Worker(script, { eval: true });
  const [port] = (await once(thread, 'message')) as [number];
  thread.unref();
  return port;
}

const methods = {
  ports: () => ports,
  tallies: () => tallies,
};

export type MemorySink = typeof methods;

answerCalls(methods);
