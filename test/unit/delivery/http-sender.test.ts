import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  HttpSender,
  type HttpSenderOptions,
  type OutgoingRequest,
} from '../../../src/delivery/http-sender.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { answer, endless, LoopbackServer, type Behaviour } from './loopback-server.js';

/** Text that compresses badly. */
const NOISE = Array.from({ length: 4_000 }, (_, i) =>
  ((i * 2_654_435_761) % 4_294_967_296).toString(36),
).join('');

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function serverThat(behave: Behaviour): Promise<LoopbackServer> {
  const server = await LoopbackServer.start(behave);
  stops.push(() => server.stop());
  return server;
}

function aSender(options: Partial<HttpSenderOptions> = {}): HttpSender {
  const sender = new HttpSender({
    rules: AddressRules.parse('127.0.0.0/8'),
    connectTimeoutMs: 2_000,
    maxConnectionsPerOrigin: 8,
    ...options,
  });
  stops.push(() => sender.close());
  return sender;
}

function aRequest(url: string, changes: Partial<OutgoingRequest> = {}): OutgoingRequest {
  return { tenantId: 't', url, headers: {}, body: Buffer.from('{"a": 1}'), timeoutMs: 5_000, ...changes };
}

/** Sends one request to a server with this behaviour. */
async function sendTo(behave: Behaviour, changes: Partial<OutgoingRequest> = {}) {
  const server = await serverThat(behave);
  return { server, result: await aSender().send(aRequest(server.url, changes)) };
}

describe('a request', () => {
  it('is a POST of the very bytes with the given headers', async () => {
    const server = await serverThat(answer(200));
    const body = Buffer.from('{"id":12345678901234567890123, "b":1.0}');
    await aSender().send(
      aRequest(`${server.url}/%C3%A9?q=a%20b`, { body, headers: { 'webhook-id': 'x', 'X-Mixed': 'Y' } }),
    );

    const [head, sent] = server.requests[0]!.split('\r\n\r\n');
    expect(sent).toBe(body.toString());
    expect(head!.split('\r\n')).toEqual([
      'POST /hook/%C3%A9?q=a%20b HTTP/1.1',
      `host: 127.0.0.1:${server.port}`,
      'connection: keep-alive',
      'webhook-id: x',
      'X-Mixed: Y',
      `content-length: ${body.length}`,
    ]);
  });

  it('does not go through a proxy of the environment', async () => {
    const proxy = await serverThat(answer(502));
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'NODE_USE_ENV_PROXY']) {
      vi.stubEnv(name, `http://127.0.0.1:${proxy.port}`);
    }
    expect((await sendTo(answer(200))).result).toMatchObject({ statusCode: 200 });
    expect(proxy.connections).toBe(0);
  });

  it.each([
    ['no URL', 'nonsense', {}, /^the target URL must/],
    ['another scheme', 'ftp://127.0.0.1/', {}, /^the target URL must/],
    [
      'a header that cannot be sent',
      'http://127.0.0.1/',
      { a: 'b\r\nc: d' },
      /cannot be sent: invalid a header/,
    ],
  ])('fails as invalid_target: %s', async (_, url, headers, message) => {
    expect(await aSender().send(aRequest(url, { headers }))).toMatchObject({
      kind: 'failure',
      code: 'invalid_target',
      message: expect.stringMatching(message),
    });
  });
});

describe('a response', () => {
  it.each([
    [200, 'thank you', 'thank you'],
    [204, '', ''],
    [410, 'gone', 'gone'],
    [500, 'oh no', 'oh no'],
  ])('of status %i is a result', async (statusCode, sent, body) => {
    const { result } = await sendTo(answer(statusCode, ['X-One: 1'], sent));
    expect(result).toMatchObject({ kind: 'response', statusCode, body, retryAfter: null });
    expect(result.kind === 'response' && result.headers['x-one']).toBe('1');
    expect(result.kind === 'response' && Number.isInteger(result.durationMs)).toBe(true);
  });

  it('of a redirect is a result, and the redirect is not followed', async () => {
    const other = await serverThat(answer(200));
    const { result } = await sendTo(answer(307, [`location: ${other.url}`]));
    expect(result).toMatchObject({ kind: 'response', statusCode: 307, headers: { location: other.url } });
    expect(other.connections).toBe(0);
  });

  it('is the one after the informational ones', async () => {
    const { result } = await sendTo((socket, request) => {
      socket.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n');
      answer(202)(socket, request);
    });
    expect(result).toMatchObject({ statusCode: 202 });
  });

  it.each<[string, string[], string | null]>([
    ['none', [], null],
    ['seconds', ['Retry-After: 120'], '120'],
    ['a date', ['Retry-After: Wed, 21 Oct 2026 07:28:00 GMT'], 'Wed, 21 Oct 2026 07:28:00 GMT'],
    ['the first of two', ['Retry-After: 120', 'retry-after: 5'], '120'],
    [
      'the first of three',
      ['Retry-After: Wed, 21 Oct 2026 07:28:00 GMT', 'retry-after: 5', 'retry-after: 6'],
      'Wed, 21 Oct 2026 07:28:00 GMT',
    ],
    [
      'a folded first one',
      ['Retry-After: Wed,', ' 21 Oct 2026 07:28:00 GMT', 'retry-after: 5'],
      'Wed, 21 Oct 2026 07:28:00 GMT',
    ],
  ])('carries Retry-After as it was sent: %s', async (_, headers, retryAfter) => {
    expect((await sendTo(answer(503, headers))).result).toMatchObject({ retryAfter });
  });

  it.each([
    ['NUL characters are left out', Buffer.from('a\0b\0'), 'ab'],
    ['invalid UTF-8 is replaced', Buffer.from([0x61, 0xff, 0x62]), 'a\uFFFDb'],
    ['4 KiB are kept', Buffer.alloc(10_000, 'x'), 'x'.repeat(4096)],
    [
      'a character across the limit is left out',
      Buffer.from('é'.repeat(2047) + 'xéé'),
      'é'.repeat(2047) + 'x',
    ],
  ])('as text: %s', async (_, sent, body) => {
    expect((await sendTo(answer(200, [], sent))).result).toMatchObject({ body });
  });

  it.each<[string, string[], Buffer, string]>([
    ['gzip', ['content-encoding: gzip'], gzipSync('hello'), 'hello'],
    ['gzip in capitals', ['content-encoding: GZIP'], gzipSync('hello'), 'hello'],
    ['deflate', ['content-encoding: deflate'], deflateSync('hello'), 'hello'],
    ['deflate without its header', ['content-encoding: deflate'], deflateRawSync('hello'), 'hello'],
    ['brotli', ['content-encoding: br'], brotliCompressSync('hello'), 'hello'],
    ['a gzip bomb', ['content-encoding: gzip'], gzipSync(Buffer.alloc(30_000_000, 'x')), 'x'.repeat(4096)],
    [
      'gzip that is cut',
      ['content-encoding: gzip'],
      gzipSync(NOISE).subarray(0, 30_000),
      NOISE.slice(0, 4096),
    ],
    ['gzip that is none', ['content-encoding: gzip'], Buffer.from('hello'), 'hello'],
    ['an unknown coding', ['content-encoding: zstd'], Buffer.from('hello'), 'hello'],
    ['ISO-8859-1', ['content-type: text/plain; charset=iso-8859-1'], Buffer.from('é', 'latin1'), 'é'],
    ['Shift_JIS', ['content-type: text/html;charset="Shift_JIS"'], Buffer.from([0x83, 0x65]), 'テ'],
    ['UTF-16', ['content-type: text/plain; charset=utf-16le'], Buffer.from('héllo', 'utf16le'), 'héllo'],
    ['an unknown charset', ['content-type: text/plain; charset=klingon'], Buffer.from('hé'), 'hé'],
    [
      'gzip of ISO-8859-1',
      ['content-encoding: gzip', 'content-type: text/plain; charset=latin1'],
      gzipSync(Buffer.from('é', 'latin1')),
      'é',
    ],
  ])('is kept as text for people: %s', async (_, headers, sent, body) => {
    const { result } = await sendTo(answer(200, headers, sent));
    expect(result).toMatchObject({ kind: 'response', statusCode: 200, body, note: null });
  });

  it('keeps a bounded record of headers, several values of a name joined', async () => {
    const { result } = await sendTo(
      answer(200, [`x-large: ${'x'.repeat(3_000)}`, `x-too-much: ${'y'.repeat(3_000)}`, 'Via: a', 'via: b']),
    );
    const headers = result.kind === 'response' ? result.headers : {};
    expect(Object.keys(headers)).toEqual(['content-length', 'x-large', 'via']);
    expect(headers['via']).toBe('a, b');
  });

  it.each([
    ['endless', endless('HTTP/1.1 200 OK\r\n\r\n', Buffer.alloc(16_384, 'x'))],
    ['huge', answer(200, [], Buffer.alloc(4_000_000, 'x'))],
  ])('whose body is %s is cut, and the connection dropped', async (_, behave) => {
    const { server, result } = await sendTo(behave);
    expect(result).toMatchObject({ kind: 'response', statusCode: 200, body: 'x'.repeat(4096) });
    await vi.waitFor(() => expect(server.open.size).toBe(0), 60_000);
  });

  it('of exactly 64 KiB is read whole, and the connection kept', async () => {
    const server = await serverThat(answer(200, [], Buffer.alloc(65_536, 'x')));
    const sender = aSender();
    await sender.send(aRequest(server.url));
    await sender.send(aRequest(server.url));
    expect(server.connections).toBe(1);
  });
});

describe('a failure', () => {
  it.each<[string, Behaviour, string, string]>([
    [
      'closed before the answer',
      (s) => s.end(),
      'connection_reset',
      'connection closed by HOST before it answered',
    ],
    [
      'reset before the answer',
      (s) => s.resetAndDestroy(),
      'connection_reset',
      'connection reset by HOST before it answered',
    ],
    [
      'closed in the middle of the head',
      (s) => s.end('HTTP/1.1 200 OK\r\ncontent-le'),
      'connection_reset',
      'connection closed by HOST in the middle of the headers of its answer',
    ],
    [
      'garbage',
      (s) => s.write('SSH-2.0-OpenSSH_9.2\r\n\r\n'),
      'protocol',
      'no valid HTTP response from HOST: it does not begin with HTTP/1.0 or HTTP/1.1',
    ],
    [
      'an upgrade',
      answer(101, ['upgrade: x', 'connection: upgrade']),
      'protocol',
      'no valid HTTP response from HOST: it switched protocols (101), which was not asked for',
    ],
    [
      'huge headers',
      answer(200, [`x: ${'x'.repeat(70_000)}`]),
      'protocol',
      'no valid HTTP response from HOST: response headers larger than 65536 bytes',
    ],
    [
      'endless headers',
      endless('HTTP/1.1 200 OK\r\n', Buffer.from('a: b\r\n'.repeat(2_000))),
      'protocol',
      'no valid HTTP response from HOST: response headers larger than 65536 bytes',
    ],
    ['a hang', () => undefined, 'timeout', 'no answer within 150 ms'],
    [
      'dripping headers',
      endless('HTTP/1.1 200 OK\r\n', Buffer.from('a: b\r\n'), 5),
      'timeout',
      'no answer within',
    ],
    [
      'endless informational answers',
      endless('', Buffer.from('HTTP/1.1 102 Processing\r\n\r\n'), 1),
      'protocol',
      'no valid HTTP response from HOST: more than 16 informational answers',
    ],
  ])('%s', async (_, behave, code, message) => {
    const { server, result } = await sendTo(behave, { timeoutMs: code === 'timeout' ? 150 : 60_000 });
    const expected = message.replace('HOST', `127.0.0.1:${server.port}`);
    expect(result).toMatchObject({ kind: 'failure', code, message: expect.stringContaining(expected) });
    await vi.waitFor(() => expect(server.open.size).toBe(0), 60_000);
  });

  it('says who refused the connection', async () => {
    const server = await serverThat(answer(200));
    const { url, port } = server;
    await server.stop();
    expect(await aSender().send(aRequest(url))).toMatchObject({
      kind: 'failure',
      code: 'connection_refused',
      message: `connection refused by 127.0.0.1:${port}`,
    });
  });

  it('says that TLS met a server without it', async () => {
    const server = await serverThat(answer(200));
    expect(await aSender().send(aRequest(`https://127.0.0.1:${server.port}/`))).toMatchObject({
      kind: 'failure',
      code: 'tls',
      message: expect.stringMatching(/^TLS with 127\.0\.0\.1:\d+: the server does not speak TLS$/),
    });
  });

  it('leaves the origin usable', async () => {
    let isSick = true;
    const server = await serverThat((socket, request) => {
      if (isSick) socket.resetAndDestroy();
      else answer(200)(socket, request);
    });
    const sender = aSender({ maxConnectionsPerOrigin: 2 });
    await Promise.all(Array.from({ length: 10 }, () => sender.send(aRequest(server.url))));
    isSick = false;
    const results = await Promise.all(Array.from({ length: 10 }, () => sender.send(aRequest(server.url))));
    expect(results.map((result) => result.kind)).toEqual(Array(10).fill('response'));
  });
});

describe('connections', () => {
  it('are kept: 50 requests one after the other share one', async () => {
    const server = await serverThat(answer(200, [], 'ok'));
    const sender = aSender();
    for (let i = 0; i < 50; i += 1) await sender.send(aRequest(server.url));
    expect(server.requests).toHaveLength(50);
    expect(server.connections).toBe(1);
  });

  it.each([
    ['kept', []],
    ['closed by the server after each answer', ['connection: close']],
  ])('to an origin are at most as many as asked for, when %s', async (_, headers) => {
    let open = 0;
    let most = 0;
    const server = await serverThat((socket, request) => {
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        answer(200, headers)(socket, request);
        if (headers.length > 0) socket.end();
      }, 5);
    });
    const sender = aSender({ maxConnectionsPerOrigin: 3 });
    const results = await Promise.all(Array.from({ length: 20 }, () => sender.send(aRequest(server.url))));
    expect(results.every((result) => result.kind === 'response')).toBe(true);
    expect(most).toBe(3);
  });

  it('that never become free are a timeout, and the request is never sent', async () => {
    const server = await serverThat(() => undefined);
    const sender = aSender({ maxConnectionsPerOrigin: 1 });
    const first = sender.send(aRequest(server.url, { timeoutMs: 200 }));
    const second = await sender.send(aRequest(server.url, { timeoutMs: 50 }));
    expect(second).toMatchObject({
      code: 'timeout',
      message: `no connection to 127.0.0.1:${server.port} became free within 50 ms`,
    });
    await first;
    void sender.send(aRequest(server.url));
    await vi.waitFor(() => expect(server.requests).toHaveLength(2), 60_000);
    expect(server.connections).toBe(2);
  });

  it.each([
    ['closed', 'end'],
    ['reset', 'resetAndDestroy'],
  ] as const)('that were kept and are %s under a request are replaced, once', async (_, lose) => {
    let answered = 0;
    const server = await serverThat((socket, request) => {
      if (answered < 1) answer(200)(socket, request);
      else socket[lose]();
      answered += 1;
    });
    const sender = aSender();
    expect(await sender.send(aRequest(server.url))).toMatchObject({ statusCode: 200 });
    expect(await sender.send(aRequest(server.url))).toMatchObject({ code: 'connection_reset' });
    expect(server.requests).toHaveLength(3);
    expect(server.connections).toBe(2);
  });

  it('that were kept and are lost under a request do not fail it', async () => {
    const server = await serverThat((socket, request) => {
      if (server.requests.length === 2) socket.resetAndDestroy();
      else answer(200)(socket, request);
    });
    const sender = aSender();
    await sender.send(aRequest(server.url));
    expect(await sender.send(aRequest(server.url))).toMatchObject({ statusCode: 200 });
    expect(server.requests[1]).toBe(server.requests[2]);
  });

  it('of origins without work are let go', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const server = await serverThat((socket, request) => {
      if (!request.includes('/hang')) answer(200, ['keep-alive: timeout=600'])(socket, request);
    });
    const sender = aSender({ resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]) });
    const busy = sender.send(aRequest(`http://busy.test:${server.port}/hang`));
    const hosts = Array.from({ length: 30 }, (_, i) => `http://h${i}.test:${server.port}/`);
    await Promise.all(hosts.map((url) => sender.send(aRequest(url))));
    expect(server.open.size).toBe(31);

    vi.advanceTimersByTime(29_999);
    expect((await sender.send(aRequest(hosts[0]!))).kind).toBe('response');
    vi.advanceTimersByTime(1);
    await vi.waitFor(() => expect(server.open.size).toBe(2), 60_000);
    expect(server.connections).toBe(31);

    await sender.close();
    await busy;
  });
});

describe('closing', () => {
  it('ends what hangs, what connects and what waits, promptly and as failures', async () => {
    const server = await serverThat(() => undefined);
    const sender = aSender({
      maxConnectionsPerOrigin: 2,
      resolve: () => new Promise(() => undefined),
    });
    const results = Promise.all([
      ...Array.from({ length: 5 }, () => sender.send(aRequest(server.url))),
      sender.send(aRequest('http://never.test/')),
    ]);
    await vi.waitFor(() => expect(server.requests).toHaveLength(2), 60_000);
    await sender.close();
    for (const result of await results) {
      expect(result).toMatchObject({
        code: 'connection_reset',
        message: 'the connection was closed because this service is stopping',
      });
    }
    expect(await sender.send(aRequest(server.url))).toMatchObject({ code: 'connection_reset' });
    expect(server.requests).toHaveLength(2);
  });
});
