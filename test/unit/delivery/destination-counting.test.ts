import { afterEach, describe, expect, it, vi } from 'vitest';
import { DestinationLimits } from '../../../src/delivery/destination-limits.js';
import { HttpSender } from '../../../src/delivery/http-sender.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { InProcessRateLimiter } from '../../../src/limits/in-process-rate-limiter.js';
import type { RateLimiter } from '../../../src/limits/rate-limiter.js';
import type { Metrics } from '../../../src/observability/metrics.js';
import { answer, type Behaviour, LoopbackServer } from './loopback-server.js';

/** What DNS says; the server listens on 127.0.0.1 alone. */
const NAMES: Record<string, string[]> = {
  'plain.test': ['127.0.0.1'],
  'plain.test.': ['127.0.0.1'],
  'behind-others.test': ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5', '127.0.0.1'],
  'mapped.test': ['::ffff:127.0.0.1'],
};

/** Hosts by which the server can be reached. */
const HOSTS = [
  '127.0.0.1',
  '127.0.0.1.',
  '0x7f000001',
  'PLAIN.test',
  '[::ffff:127.0.0.1]',
  ...Object.keys(NAMES),
];

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

interface Settings {
  rate?: number;
  concurrency?: number;
  limiter?: RateLimiter;
  behave?: Behaviour;
}

/** A victim, and a sender that counts what goes there, though a test can only call what the operator allows. */
async function aVictim({
  rate = 0,
  concurrency = 0,
  limiter = new InProcessRateLimiter(),
  behave = answer(200),
}: Settings) {
  const server = await LoopbackServer.start(behave);
  const addressRules = AddressRules.parse('127.0.0.0/8');
  vi.spyOn(addressRules, 'isOfOperator').mockReturnValue(false);
  const sender = new HttpSender({
    rules: addressRules,
    connectTimeoutMs: 2_000,
    maxConnectionsPerOrigin: 100,
    limits: new DestinationLimits(limiter, { destinationLimited: () => undefined } as unknown as Metrics, {
      addressRules,
      destinationRateLimit: rate,
      destinationConcurrency: concurrency,
    }),
    resolve: (name) =>
      Promise.resolve((NAMES[name] ?? ['127.0.0.1']).map((address) => ({ address, family: 0 }))),
  });
  stops.push(
    () => sender.close(),
    () => server.stop(),
  );
  const { port } = server;
  const send = async (host: string, tenantId = 'a') => {
    const url = `http://${host}:${port}/`;
    const result = await sender.send({
      tenantId,
      url,
      headers: {},
      body: Buffer.from('{}'),
      timeoutMs: 5_000,
    });
    return result.kind === 'failure' ? result.code : result.kind;
  };
  return { server, send };
}

describe('the rate of a destination', () => {
  it.each(HOSTS)('counts what goes there by the name of %s', async (host) => {
    const { server, send } = await aVictim({ rate: 4 });
    expect([await send(host), await send('other.test')]).toEqual(['response', 'response']);
    expect([await send(host), await send('third.test')]).toEqual(['postponed', 'postponed']);
    expect(server.requests).toHaveLength(2);
  });

  it('stays used up however many other names there are', async () => {
    const { server, send } = await aVictim({ rate: 4 });
    await send('plain.test');
    await send('plain.test');
    const results = new Set<string>();
    for (let index = 0; index < 10_001; index++) results.add(await send(`n${index}.test`));
    // A token flows in each half second that the loop takes.
    expect(results).toContain('postponed');
    expect(server.requests.length).toBeLessThan(100);
  });

  it('counts each request on a connection that is kept', async () => {
    const { server, send } = await aVictim({ rate: 6 });
    const results = [];
    for (let index = 0; index < 5; index++) results.push(await send('plain.test'));
    expect(results).toEqual(['response', 'response', 'response', 'postponed', 'postponed']);
    expect(server.connections).toBe(1);
  });

  it('is asked of other processes before a kept connection is used again', async () => {
    class Asking extends InProcessRateLimiter {
      override take(...request: Parameters<RateLimiter['take']>) {
        return Promise.resolve(super.take(...request)) as never;
      }
    }
    const { server, send } = await aVictim({ rate: 6, concurrency: 100, limiter: new Asking() });
    const results = [];
    for (let index = 0; index < 4; index++) results.push(await send('plain.test'));
    expect(results).toEqual(['response', 'response', 'response', 'postponed']);
    expect(server.connections).toBe(1);
    expect(await send('plain.test', 'another')).toBe('response');
  });
});

describe('the open requests to a destination', () => {
  it('count until they are over, by whatever names they go there', async () => {
    const answers: (() => void)[] = [];
    const { server, send } = await aVictim({
      concurrency: 10,
      behave: (socket, request) => answers.push(() => answer(200)(socket, request)),
    });
    const open = HOSTS.slice(0, 5).map((host) => send(host));
    await vi.waitUntil(() => server.requests.length === 5);
    for (const host of HOSTS) expect(await send(host)).toBe('postponed');
    for (const answerNow of answers.splice(0)) answerNow();
    expect(await Promise.all(open)).toEqual(Array(5).fill('response'));

    const again = HOSTS.slice(0, 5).map((host) => send(host));
    await vi.waitUntil(() => answers.length === 5);
    for (const answerNow of answers) answerNow();
    expect(await Promise.all(again)).toEqual(Array(5).fill('response'));
  });

  it.each<[string, Behaviour, string]>([
    ['an answer that closes the connection', (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'), 'response'],
    ['a reset', (socket) => socket.resetAndDestroy(), 'connection_reset'],
    ['what is no HTTP', (socket) => socket.write('nonsense\r\n\r\n'), 'protocol'],
  ])('end with %s', async (_, behave, expected) => {
    const { send } = await aVictim({ concurrency: 2, behave });
    for (let index = 0; index < 5; index++) expect(await send('behind-others.test')).toBe(expected);
  });

  it('end where no address takes a connection', async () => {
    const { server, send } = await aVictim({ concurrency: 2 });
    await server.stop();
    for (let index = 0; index < 5; index++) expect(await send('plain.test')).toBe('connection_refused');
  });
});
