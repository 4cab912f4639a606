import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, expect, it } from 'vitest';
import { HttpSender } from '../../../src/delivery/http-sender.js';
import { AddressRules } from '../../../src/domain/target-address.js';

/** Answers on a thread of its own, and counts its answers where this thread sees them while it does nothing else. */
const SERVER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      socket.write('HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n');
      Atomics.add(workerData, 0, 1);
      Atomics.notify(workerData, 0);
    });
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;
const TIMEOUT_MS = 100;

const answers = new Int32Array(new SharedArrayBuffer(4));
const worker = new Worker(SERVER, { eval: true, workerData: answers });
const sender = new HttpSender({
  rules: AddressRules.parse('127.0.0.0/8'),
  connectTimeoutMs: 60_000,
  maxConnectionsPerOrigin: 1,
});

afterAll(async () => {
  await sender.close();
  await worker.terminate();
});

it('an answer that came while this process was held up is no timeout', async () => {
  const [port] = (await once(worker, 'message')) as [number];
  const send = (timeoutMs: number) =>
    sender.send({
      tenantId: 't',
      url: `http://127.0.0.1:${port}/`,
      headers: {},
      body: Buffer.from('{}'),
      timeoutMs,
    });
  expect(await send(60_000)).toMatchObject({ statusCode: 200 });
  // Its connection rests, and is then used at once.
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);

  const startedAt = performance.now();
  const second = send(TIMEOUT_MS);
  expect(Atomics.wait(answers, 0, 1)).not.toBe('timed-out');
  while (performance.now() < startedAt + TIMEOUT_MS + 10);
  expect(await second).toMatchObject({ kind: 'response', statusCode: 200 });
});
