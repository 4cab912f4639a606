import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { memoryGrowth } from '../support/memory-growth.js';
import { DataFolder, PosthornProcess } from '../support/process.js';
import { waitFor } from '../support/wait-for.js';

const MEBIBYTE = 1_048_576;
const CHUNK = Buffer.alloc(64 * 1024, 'x');

let folder: DataFolder;
let posthorn: PosthornProcess;
const servers: Server[] = [];
const sockets = new Set<Socket>();

beforeAll(async () => {
  folder = await DataFolder.make();
  posthorn = await folder.start();
});
afterAll(() => folder.remove());
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

const growthDuring = (work: () => Promise<void>): Promise<number> => memoryGrowth(posthorn.pid, work);

/** A subscriber that answers each request by `answer`. @returns its port */
async function listen(answer: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
    socket.once('close', () => sockets.delete(socket));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

describe('a hundred answers that never end', () => {
  const SUBSCRIBERS = 100;
  /** What the sockets of both sides hold, and what Posthorn reads. */
  const MAX_SENT = 16 * MEBIBYTE;

  it.each([
    { what: 'bodies', head: 'HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n', more: CHUNK },
    {
      what: 'header sections',
      head: 'HTTP/1.1 200 OK\r\n',
      more: Buffer.from(`x-more: ${'y'.repeat(1_000)}\r\n`),
    },
  ])('are cut off: $what', async ({ what, head, more }) => {
    let longest = 0;
    const port = await listen((socket) => {
      let sent = 0;
      const write = (): void => {
        do longest = Math.max(longest, (sent += more.length));
        while (!socket.destroyed && sent < 2 * MAX_SENT && socket.write(more));
      };
      socket.write(head);
      socket.on('drain', write);
      write();
    });
    for (let index = 0; index < SUBSCRIBERS; index++) {
      const { status, text } = await posthorn.tenant.request('POST', '/subscriptions', {
        target_url: `http://127.0.0.1:${port}/${index}`,
        event_types: [`endless.${what.replace(' ', '.')}`],
        retry_policy: { schedule: [] },
      });
      expect(status, text).toBe(201);
    }
    const growth = await growthDuring(async () => {
      const event = { event_type: `endless.${what.replace(' ', '.')}`, payload: 1 };
      const { body } = await posthorn.tenant.request('POST', '/events', event);
      const isOver = async (): Promise<boolean> =>
        (await posthorn.tenant.request('GET', `/events/${body.id as string}/status`)).body.status !==
        'delivering';
      await waitFor(isOver, { what: 'all attempts to end' });
    });
    expect(longest).toBeLessThan(MAX_SENT);
    expect(growth).toBeLessThan(150);
  });
});

describe('batches of 100 MB', () => {
  const BYTES = 100_000_000;
  const AT_ONCE = 3;

  it.each([
    // Refused for what it declares: not a byte of it is kept.
    { how: 'with Content-Length', headers: { 'content-length': BYTES }, maxGrowth: 40 },
    // Each is read up to MAX_BATCH_BYTES (16 MiB).
    { how: 'chunked', headers: { 'transfer-encoding': 'chunked' }, maxGrowth: 200 },
  ])('are refused, $how, while others are served', async ({ headers, maxGrowth }) => {
    const growth = await growthDuring(async () => {
      const answers = Array.from({ length: AT_ONCE }, () => sendBatch(BYTES, headers));
      const event = { event_type: 'nobody.wants', payload: 1 };
      expect((await posthorn.tenant.request('POST', '/events', event)).status).toBe(202);
      for (const { status, sent } of await Promise.all(answers)) {
        // Several at once are more than one tenant may hold while they arrive.
        expect([413, 429]).toContain(status);
        expect(sent).toBeLessThan(BYTES);
      }
    });
    expect(growth).toBeLessThan(maxGrowth);
  });

  /** Sends as fast as it is taken, until it is answered. */
  async function sendBatch(bytes: number, headers: Record<string, string | number>) {
    const outgoing = request(`${posthorn.url}/api/v1/events/batch`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${posthorn.apiKey}`,
        'content-type': 'application/json',
        ...headers,
      },
    });
    let status: number | undefined;
    let sent = 0;
    const answered = new Promise<void>((resolve) => {
      outgoing.once('response', (response) => {
        status = response.statusCode;
        response.resume();
        resolve();
      });
      outgoing.once('error', () => resolve());
    });
    while (sent < bytes && status === undefined && !outgoing.destroyed) {
      sent += CHUNK.length;
      if (!outgoing.write(CHUNK)) await Promise.race([once(outgoing, 'drain'), answered]);
    }
    await answered;
    outgoing.destroy();
    return { status, sent };
  }
});
