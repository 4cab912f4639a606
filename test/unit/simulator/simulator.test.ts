import { connect } from 'node:net';
import { request } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator, type SimulatorOptions } from '../../../src/simulator/simulator.js';

let simulator: Simulator;

async function start(options: SimulatorOptions = {}): Promise<void> {
  await simulator.close();
  simulator = await startSimulator(options);
}

const post = (path: string, headers: Record<string, string> = {}, body = '{}', timeoutMs = 5_000) =>
  request(simulator.url + path, { method: 'POST', headers, body, signal: AbortSignal.timeout(timeoutMs) });

/** What comes back on a bare connection, up to and including the pattern. */
async function bytesUntil(pattern: RegExp, path: string): Promise<string> {
  const socket = connect(simulator.port, '127.0.0.1').setEncoding('latin1');
  socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (pattern.test(text)) break;
  }
  return text;
}

async function statusOf(path: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await post(path, headers);
  await response.body.dump();
  return response.statusCode;
}

async function statusesOf(path: string, count: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let sent = 0; sent < count; sent++) statuses.push(await statusOf(path));
  return statuses;
}

beforeEach(async () => {
  simulator = await startSimulator({ seed: 1 });
});
afterEach(() => simulator.close());

describe('behaviours on the wire', () => {
  it.each([
    ['/ok', [200, 200]],
    ['/anything/else', [200]],
    ['/status/204', [204]],
    ['/status/304', [304]],
    ['/status/200,500,200', [200, 500, 200, 200]],
    ['/fail-first/2/orders', [500, 500, 200, 200]],
    ['/always-fail', [500, 500]],
    ['/fail/100', [500]],
    ['/fail/0', [200]],
    ['/rate-limit/3', [200, 200, 200, 429, 429]],
    ['/gone', [410]],
    ['/redirect', [302]],
    ['/huge/1', [200]],
    ['/binary', [200]],
    ['/status/999', [400]],
  ])('%s answers %j', async (path, statuses) => {
    expect(await statusesOf(path, statuses.length)).toEqual(statuses);
    expect(simulator.receivedOn(path).map(({ status }) => status)).toEqual(statuses);
  });

  it.each([
    ['/rate-limit/1?rate-limit=1', 'retry-after', '1'],
    ['/retry-after/7/status/503', 'retry-after', '7'],
    ['/redirect?to=http://127.0.0.1/elsewhere', 'location', 'http://127.0.0.1/elsewhere'],
  ])('%s sends %s: %s', async (path, header, value) => {
    await statusOf(path);
    const response = await post(path);
    await response.body.dump();
    expect(response.headers[header]).toBe(value);
  });

  it.each([
    ['/drop', /ECONNRESET|other side closed/],
    ['/garbage', /Parse Error|HTTP/],
  ])('%s gives no answer: %s', async (path, error) => {
    await expect(post(path)).rejects.toThrow(error);
    expect(simulator.stats()[path]?.statuses).toEqual({ none: 1 });
  });

  it('/hang gives no answer for as long as one waits', async () => {
    await expect(post('/hang', {}, '{}', 50)).rejects.toThrow(/timeout/);
    expect(simulator.received).toMatchObject([{ path: '/hang', status: null }]);
  });

  it('/drop-mid-body ends the connection after the headers', async () => {
    const { statusCode, body } = await post('/drop-mid-body');
    expect(statusCode).toBe(200);
    await expect(body.text()).rejects.toThrow(/other side closed|terminated|ECONNRESET/);
  });

  it.each([
    ['/lie', /content-length: 2\r\n[^]*\r\n\r\nok.+announced length/],
    ['/slow-headers/2', /^HTTP\/1.1 200 OK\r\nx-slow: zzz/],
    ['/drip/2', /\r\n\r\n1\r\nz\r\n1\r\nz\r\n1\r\nz/],
  ])('%s sends bytes like %s', async (path, pattern) => {
    expect(await bytesUntil(pattern, path)).toMatch(pattern);
  });

  it('/endless goes on until the reader has had enough', async () => {
    const response = await post('/endless');
    let bytes = 0;
    for await (const chunk of response.body) {
      bytes += (chunk as Buffer).length;
      if (bytes > 5_000_000) break;
    }
    expect(bytes).toBeGreaterThan(5_000_000);
  });

  it('/huge sends as much as it announces', async () => {
    const response = await post('/huge/2');
    expect(response.headers['content-length']).toBe(String(2 * 1024 * 1024));
    expect((await response.body.bytes()).length).toBe(2 * 1024 * 1024);
  });

  it('/delay answers late, after it has recorded the arrival', async () => {
    const answer = statusOf('/delay/100/orders');
    await simulator.waitFor(1);
    expect(simulator.received[0]?.status).toBeNull();
    expect(await answer).toBe(200);
    expect(simulator.received[0]?.status).toBe(200);
    expect(performance.timeOrigin + performance.now() - simulator.received[0]!.arrivedAt).toBeGreaterThan(99);
  });

  it('fails the same requests again with the same seed', async () => {
    const first = await statusesOf('/fail/50', 30);
    await start({ seed: 1 });
    expect(await statusesOf('/fail/50', 30)).toEqual(first);
    expect(new Set(first)).toEqual(new Set([200, 500]));
  });

  it('changes its behaviour at run time, for that path only', async () => {
    expect(await statusOf('/orders')).toBe(200);
    expect(await statusOf('/fail-first/2')).toBe(500);
    simulator.setBehaviour('/orders', 'status/503');
    expect(await statusesOf('/orders', 1)).toEqual([503]);
    expect(await statusOf('/fail-first/2')).toBe(500);
    simulator.setBehaviour('/orders', 'ok');
    expect(await statusOf('/orders')).toBe(200);
    expect(await statusOf('/fail-first/2')).toBe(200);
    expect(() => simulator.setBehaviour('/orders', 'fial/3')).toThrow(/fial/);
  });
});

describe('the record', () => {
  it('holds the exact bytes and headers', async () => {
    const body = '{"id":12345678901234567890123, "a":1.0}';
    await (await post('/ok/a', { 'X-Webhook-Event': 'user.created' }, body)).body.dump();
    const [arrival] = simulator.receivedOn('/ok/a');
    expect(arrival).toMatchObject({ method: 'POST', bytes: body.length, signatureValid: null, status: 200 });
    expect(arrival?.body.toString()).toBe(body);
    expect(arrival?.headers['x-webhook-event']).toBe('user.created');
  });

  it('calls a webhook-id a duplicate once it was accepted on the path, not after a refusal', async () => {
    const id = { 'webhook-id': 'one' };
    for (const path of ['/fail-first/1', '/fail-first/1', '/fail-first/1', '/ok/other'])
      await statusOf(path, id);
    expect(simulator.received.map(({ duplicate }) => duplicate)).toEqual([false, false, true, false]);
  });

  it('still knows what it accepted after it has refused a copy', async () => {
    for (const behaviour of ['ok', 'always-fail', 'ok']) {
      simulator.setBehaviour('/orders', behaviour);
      await statusOf('/orders', { 'webhook-id': 'one' });
    }
    expect(simulator.received.map(({ duplicate }) => duplicate)).toEqual([false, true, true]);
  });

  it('has no status for a sender that left before the answer', async () => {
    await expect(post('/delay/60', {}, '{}', 20)).rejects.toThrow(/timeout/);
    await simulator.waitFor(() => simulator.stats()['/delay/60']?.statuses['none'] === 1);
    expect(simulator.received).toMatchObject([{ status: null }]);
  });

  it('calls a copy a duplicate while the first is still in hand', async () => {
    const first = statusOf('/delay/50', { 'webhook-id': 'one' });
    await simulator.waitFor(1);
    await Promise.all([first, statusOf('/delay/50', { 'webhook-id': 'one' })]);
    expect(simulator.received.map(({ duplicate }) => duplicate)).toEqual([false, true]);
  });

  it('resolves waitFor on arrival, and rejects with the counts when the time is over', async () => {
    const waiting = simulator.waitFor(() => simulator.countOn('/ok/b') >= 2);
    await Promise.all([statusOf('/ok/b'), statusOf('/ok/b')]);
    await waiting;
    await expect(simulator.waitFor(3, 20)).rejects.toThrow(/20 ms in vain; received: .*"\/ok\/b"/);
  });

  it('keeps at most maxRecords arrivals and webhook-ids, the newest, and counts all', async () => {
    await start({ maxRecords: 10, keepBodies: false });
    for (let sent = 0; sent < 25; sent++) await statusOf('/ok', { 'webhook-id': String(sent) });
    expect(simulator.received.length).toBeLessThanOrEqual(10);
    expect(simulator.received.at(-1)).toMatchObject({ headers: { 'webhook-id': '24' }, bytes: 2 });
    expect(simulator.received.at(-1)?.body).toHaveLength(0);
    expect(simulator.countOn('/ok')).toBe(25);

    await statusOf('/ok', { 'webhook-id': '24' });
    await statusOf('/ok', { 'webhook-id': '0' });
    expect(simulator.received.slice(-2).map(({ duplicate }) => duplicate)).toEqual([true, false]);
  });

  it('only counts with record: false, and still tells the listener', async () => {
    const told: (number | null)[] = [];
    await start({ record: false, onHandled: ({ status }) => told.push(status) });
    await Promise.all([statusOf('/ok'), statusOf('/ok'), simulator.waitFor(2)]);
    expect(simulator.received).toEqual([]);
    expect(simulator.total).toBe(2);
    expect(told).toEqual([200, 200]);
  });

  it('forgets arrivals, counts and sequences on clear', async () => {
    await statusesOf('/fail-first/1', 2);
    simulator.clear();
    expect([simulator.total, simulator.received, simulator.stats()]).toEqual([0, [], {}]);
    expect(await statusOf('/fail-first/1')).toBe(500);
  });
});

describe('close', () => {
  it('cuts hanging connections and gives up waiting', async () => {
    const hanging = expect(post('/hang')).rejects.toThrow();
    await simulator.waitFor(1);
    const waiting = expect(simulator.waitFor(2)).rejects.toThrow(/was closed/);
    await simulator.close();
    await Promise.all([hanging, waiting]);
  });

  it('rejects a port that is taken', async () => {
    await expect(startSimulator({ port: simulator.port })).rejects.toThrow(/EADDRINUSE/);
  });
});

describe('looking inside over HTTP', () => {
  const get = async (path: string) => (await request(simulator.url + path)).body;
  const put = async (path: string, body: string) => {
    const response = await request(simulator.url + path, { method: 'PUT', body });
    await response.body.dump();
    return response.statusCode;
  };

  it('GET / lists the behaviours and is no arrival', async () => {
    expect(await (await get('/')).text()).toMatch(/\/rate-limit\/3 .*429/);
    expect(simulator.total).toBe(0);
  });

  it('GET /_received shows the newest first, DELETE forgets it', async () => {
    for (const path of ['/a', '/b', '/c']) await statusOf(path);
    const shown = (await (await get('/_received?limit=2')).json()) as { path: string; body: string }[];
    expect(shown.map(({ path, body }) => [path, body])).toEqual([
      ['/c', '{}'],
      ['/b', '{}'],
    ]);
    expect(await (await get('/_stats')).json()).toMatchObject({
      '/a': { received: 1, statuses: { 200: 1 } },
    });
    await request(`${simulator.url}/_received`, { method: 'DELETE' });
    expect(simulator.total).toBe(0);
  });

  it.each([
    ['/_behaviour/orders', 'status/503', 204, 503],
    ['/_behaviour/orders', 'fial/15', 400, 200],
    ['/_secret/orders', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 204, 401],
    ['/_secret/orders', 'whsec_not base64!', 400, 200],
    ['/_elsewhere', '', 404, 200],
  ])('PUT %s "%s" answers %d, then /orders answers %d', async (path, body, answer, afterwards) => {
    expect(await put(path, body)).toBe(answer);
    expect(await statusOf('/orders')).toBe(afterwards);
  });

  it.each(['0', 'x', '-1', '1.5'])('refuses limit=%s', async (limit) => {
    const response = await request(`${simulator.url}/_received?limit=${limit}`);
    expect(response.statusCode).toBe(400);
    await response.body.dump();
  });
});
