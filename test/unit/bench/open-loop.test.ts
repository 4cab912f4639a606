import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { monotonicMs } from '../../../bench/latencies.js';
import { openLoop } from '../../../bench/open-loop.js';

const EVENTS = 100;
const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

/** Calls `arrive` when a request has come in whole, with its number. */
async function listen(arrive: (response: ServerResponse, number: number) => void): Promise<string> {
  let arrived = 0;
  const server = createServer((request, response) => {
    const number = arrived++;
    request.resume().once('end', () => arrive(response, number));
  }).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const accept = (response: ServerResponse): void => void response.writeHead(202).end();

const handIn = (url: string) =>
  openLoop({
    url,
    apiKey: 'key',
    keyPrefix: 'k',
    types: 1,
    payloadBytes: 64,
    eventsPerSecond: 1_000,
    events: EVENTS,
    batch: 1,
  });

it('hands in everything although nothing is answered, and counts the wait from when each event was due', async () => {
  const held: ServerResponse[] = [];
  let lastArrivedAt = 0;
  const url = await listen((response) => {
    held.push(response);
    if (held.length < EVENTS) return;
    lastArrivedAt = monotonicMs();
    held.forEach(accept);
  });
  const { dueAt, sentAt, acceptedAt } = await handIn(url);
  for (let sequence = 0; sequence < EVENTS; sequence++) {
    expect(sentAt[sequence]).toBeGreaterThanOrEqual(dueAt[sequence]!);
    expect(acceptedAt[sequence]).toBeGreaterThanOrEqual(lastArrivedAt);
  }
});

it('keeps its schedule when it is held up itself', async () => {
  const smooth = await handIn(await listen(accept));
  const stalled = await handIn(
    await listen((response, number) => {
      if (number === 10) for (const until = monotonicMs() + 50; monotonicMs() < until;);
      accept(response);
    }),
  );
  const gaps = ({ dueAt }: { dueAt: Float64Array }) =>
    [...dueAt].map((due) => Math.round((due - dueAt[0]!) * 100));
  expect(gaps(stalled)).toEqual(gaps(smooth));
  const late = stalled.sentAt.map((sent, sequence) => sent - stalled.dueAt[sequence]!);
  expect(Math.max(...late)).toBeGreaterThan(20);
});

it('fails when an event is not accepted', async () => {
  const url = await listen((response, number) => void response.writeHead(number === 3 ? 500 : 202).end());
  await expect(handIn(url)).rejects.toThrow('answered 500');
});
