import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { withPatience } from '../../../src/domain/with-patience.js';

it('gives the answer that comes in time, and what failed', async () => {
  expect(await withPatience(Promise.resolve(1), 1_000, 'Somebody')).toBe(1);
  await expect(withPatience(Promise.reject(new Error('no')), 1_000, 'Somebody')).rejects.toThrow('no');
});

it('waits no longer, and says for whom', async () => {
  const from = performance.now();
  await expect(withPatience(new Promise(() => undefined), 50, 'Somebody')).rejects.toThrow(
    'Somebody did not answer within 50 ms',
  );
  // A timer counts whole milliseconds.
  expect(performance.now() - from).toBeGreaterThanOrEqual(49);
});

it('reads first what came while this process was held up', async () => {
  const server = createServer((socket) => {
    socket.write('an answer');
    // It is on its way, and nobody reads it until the time is over.
    for (const from = performance.now(); performance.now() - from < 100;);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  try {
    const [answer] = (await withPatience(once(client, 'data'), 50, 'Somebody')) as [Buffer];
    expect(answer.toString()).toBe('an answer');
  } finally {
    client.destroy();
    server.close();
  }
});
