import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerCalls } from './program.js';

/** Clients that do harm to the API, in a process of their own. */

interface Target {
  url: string;
  apiKey: string;
  path: string;
}

const CHUNK = Buffer.alloc(64 * 1024, 'x');
/** Connections opened at once: the listener's backlog is finite. */
const OPENING_AT_ONCE = 200;
const RETRY_MS = 100;
const TRICKLE_MS = 5_000;

const halfOpen = new Set<Socket>();
let reopened = 0;
let wanted = 0;

const methods = {
  /**
   * Keeps so many connections open, each with half a request: every second one stops amid its headers, the others amid
   * a body of which `bodyBytes` have been sent. One that the API closes is opened again.
   */
  holdHalfRequests: async (target: Target, count: number, bodyBytes: number) => {
    wanted = count;
    let next = 0;
    const opener = async (): Promise<void> => {
      while (next < count) await keepHalfRequest(target, next++, bodyBytes);
    };
    await Promise.all(Array.from({ length: OPENING_AT_ONCE }, opener));
  },

  halfRequests: () => ({ open: halfOpen.size, reopened }),

  letGo: () => {
    wanted = 0;
    for (const socket of halfOpen) socket.destroy();
  },

  /**
   * Sends so many bodies at once, as fast as they are taken; half of them declare their length, half are chunked.
   * @returns how often each status was answered ('none' for a connection that closed without), and the bytes sent
   */
  sendBodies: async (target: Target, { count, bytes }: { count: number; bytes: number }) => {
    const statuses: Record<string, number> = {};
    let sent = 0;
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const answer = await sendBody(target, bytes, index % 2 === 1);
        statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
        sent += answer.sent;
      }),
    );
    return { statuses, sent };
  },
};

export type MemoryCallers = typeof methods;

answerCalls(methods);

async function keepHalfRequest(target: Target, index: number, bodyBytes: number): Promise<void> {
  const socket = await connect(target.url);
  halfOpen.add(socket);
  const inHeaders = index % 2 === 0;
  socket.write(head(target, inHeaders ? '' : `content-length: ${bodyBytes + 1_000}\r\n`, !inHeaders));
  if (!inHeaders) socket.write(`{"events":"${'x'.repeat(bodyBytes)}`);
  const trickle = setInterval(() => socket.write(inHeaders ? 'x-slow: 1\r\n' : 'x'), TRICKLE_MS);
  socket.resume();
  socket.once('close', () => {
    clearInterval(trickle);
    halfOpen.delete(socket);
    if (halfOpen.size >= wanted) return;
    reopened++;
    void keepHalfRequest(target, index, bodyBytes);
  });
}

async function sendBody(target: Target, bytes: number, isChunked: boolean) {
  const socket = await connect(target.url);
  let received = '';
  let sent = 0;
  const ended = new Promise<void>((resolve) => {
    socket.on('data', (data: Buffer) => {
      received += data.toString('latin1');
      if (received.includes('\r\n')) resolve();
    });
    socket.once('close', () => resolve());
  });
  const over = new AbortController();
  void ended.then(() => over.abort());
  const write = async (data: Buffer | string): Promise<void> => {
    if (!socket.write(data)) await Promise.race([drained(socket), ended]);
  };
  socket.write(
    head(target, isChunked ? 'transfer-encoding: chunked\r\n' : `content-length: ${bytes}\r\n`, true),
  );
  await write(framed(Buffer.from('{"events":"'), isChunked));
  for (; sent < bytes && !over.signal.aborted; sent += CHUNK.length) await write(framed(CHUNK, isChunked));
  await Promise.race([ended, sleep(60_000, undefined, { ref: false })]);
  socket.destroy();
  return { status: /^HTTP\/1.1 (\d+)/.exec(received)?.[1] ?? 'none', sent };
}

const drained = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('drain', resolve));

function framed(data: Buffer, isChunked: boolean): Buffer {
  if (!isChunked) return data;
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);
}

function head({ url, apiKey, path }: Target, more: string, isComplete: boolean): string {
  return (
    `POST /api/v1${path} HTTP/1.1\r\nhost: ${new URL(url).host}\r\nauthorization: Bearer ${apiKey}\r\n` +
    `content-type: application/json\r\n${more}${isComplete ? '\r\n' : ''}`
  );
}

/** Tries until it is connected. */
async function connect(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  for (;;) {
    const socket = createConnection({ host: hostname, port: Number(port) });
    const connected = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.on('error', () => undefined); // being cut off is what it is for
    if (connected) return socket;
    await sleep(RETRY_MS);
  }
}
