import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

let posthorn: Posthorn;
let tenant: TestTenant;

beforeAll(async () => {
  posthorn = await startPosthorn({ limits: { headersMs: 500, checkMs: 50, connections: 40 } });
  tenant = await posthorn.tenant();
});
afterAll(() => posthorn.stop());

/** A connection on which this has been sent, whatever becomes of it. */
function send(text: string): Promise<Socket> {
  const { hostname, port } = new URL(posthorn.url);
  return new Promise((resolve) => {
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true }, () => {
      socket.write(text, () => resolve(socket));
    });
    socket.on('error', () => resolve(socket));
  });
}

const openConnections = (): Promise<number> =>
  new Promise((resolve, reject) => {
    posthorn.app.getHttpServer().getConnections((error: Error | null, count: number) => {
      if (error) reject(error);
      else resolve(count);
    });
  });

/** An error that nobody listened for would end the process, and here the test run. */
describe('a connection that is reset', () => {
  it.each([
    ['after CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['after CONNECT with more behind it', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n'],
    [
      'after an upgrade',
      'GET /ready HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    ],
    ['after garbage', 'no request at all\r\n\r\n'],
    ['in the middle of its headers', 'GET /ready HTTP/1.1\r\nHos'],
    ['in the middle of its body', 'POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{'],
  ])('%s, does no harm', async (_, text) => {
    for (let count = 0; count < 20; count++) {
      const socket = await send(text);
      socket.resetAndDestroy();
    }
    await waitFor(async () => (await openConnections()) <= 2, { what: 'the connections to end' });
    expect((await tenant.request('GET', '/events')).status).toBe(200);
  });
});

it('lets go of connections that were answered and do not close their half', async () => {
  const sockets = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      send(index % 2 === 0 ? 'G' : 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'),
    ),
  );
  await waitFor(async () => (await openConnections()) >= 15, { what: 'them to be there' });
  await waitFor(async () => (await openConnections()) <= 2, { what: 'them to be let go of' });
  expect((await tenant.request('GET', '/events')).status).toBe(200);
  for (const socket of sockets) socket.destroy();
});
