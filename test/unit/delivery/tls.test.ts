import { spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import {
  HttpSender,
  type HttpSenderOptions,
  type OutgoingRequest,
} from '../../../src/delivery/http-sender.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { type Certificate, certificateFor } from '../../support/certificates.js';
import { type Behaviour, endless, LoopbackServer } from './loopback-server.js';

const HOST = 'hooks.example.test';
const CLOSING = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok';
/** Longer than any test, where the time must not be what ends an exchange. */
const NEVER_MS = 240_000;

const authority = certificateFor('authority', { isAuthority: true });
const stranger = certificateFor('stranger', { isAuthority: true });
const trusted = certificateFor(HOST, { issuer: authority });

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** Answers each request so, and remembers the connections. */
async function tlsServer(
  { cert, key }: Certificate,
  {
    answer = (socket) => void socket.write(CLOSING),
    ...options
  }: TlsOptions & { answer?: (socket: TLSSocket) => void } = {},
): Promise<{ url: string; connections: TLSSocket[]; resumed: boolean[] }> {
  const connections: TLSSocket[] = [];
  const resumed: boolean[] = [];
  const server = createServer({ cert, key, ...options }, (socket) => {
    connections.push(socket);
    resumed.push(socket.isSessionReused());
    socket.on('error', () => undefined);
    socket.on('data', () => answer(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { url: `https://${HOST}:${(server.address() as AddressInfo).port}/`, connections, resumed };
}

async function rawServer(behave: Behaviour): Promise<string> {
  const server = await LoopbackServer.start(behave);
  stops.push(() => server.stop());
  return `https://${HOST}:${server.port}/`;
}

function aSender(
  options: Partial<HttpSenderOptions> = {},
): (url: string, changes?: Partial<OutgoingRequest>) => ReturnType<HttpSender['send']> {
  const sender = new HttpSender({
    rules: AddressRules.parse('127.0.0.0/8'),
    connectTimeoutMs: NEVER_MS,
    maxConnectionsPerOrigin: 4,
    resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]),
    ca: authority.cert,
    ...options,
  });
  stops.push(() => sender.close());
  return (url, changes) =>
    sender.send({
      tenantId: 'one',
      url,
      headers: {},
      body: Buffer.from('{}'),
      timeoutMs: NEVER_MS,
      ...changes,
    });
}

describe('the certificate of a server', () => {
  it('is taken when an authority that is known vouches for it, and the server is told which one is wanted', async () => {
    const { url, connections } = await tlsServer(trusted);
    expect(await aSender()(url)).toMatchObject({ statusCode: 200, body: 'ok' });
    expect((connections[0] as TLSSocket & { servername: string }).servername).toBe(HOST);
  });

  it.each<[string, Certificate, RegExp]>([
    [
      'of an authority that is not known',
      certificateFor(HOST, { issuer: stranger }),
      /unable to verify the first certificate/,
    ],
    ['that vouches for itself', certificateFor(HOST), /self-signed certificate/],
    [
      'of another host',
      certificateFor('other.example.test', { issuer: authority }),
      /Host: hooks\.example\.test\. is not in the cert's altnames: DNS:other\.example\.test/,
    ],
    [
      'that is over',
      certificateFor(HOST, { issuer: authority, validFromDays: -9, validUntilDays: -8 }),
      /certificate has expired/,
    ],
    [
      'that is not valid yet',
      certificateFor(HOST, { issuer: authority, validFromDays: 8, validUntilDays: 9 }),
      /certificate is not yet valid/,
    ],
  ])('%s is refused before anything is sent', async (_, certificate, reason) => {
    const received: string[] = [];
    const { url } = await tlsServer(certificate, {
      answer: (socket) => {
        received.push('a request');
        socket.write(CLOSING);
      },
    });
    const result = await aSender()(url);
    expect(result).toMatchObject({ kind: 'failure', code: 'tls', message: expect.stringMatching(reason) });
    expect(result).toMatchObject({ message: expect.stringMatching(`^TLS with ${HOST}:`) });
    expect(received).toEqual([]);
  });

  it('is for the very address where the target has no name', async () => {
    const { url } = await tlsServer(certificateFor('localhost', { issuer: authority }));
    expect(await aSender()(url.replace(HOST, '127.0.0.1'))).toMatchObject({
      code: 'tls',
      message: expect.stringMatching(/IP: 127\.0\.0\.1 is not in the cert's list/),
    });
  });

  it('is judged by the authorities of Node when no others are given', async () => {
    const { url } = await tlsServer(trusted);
    expect(await aSender({ ca: undefined })(url)).toMatchObject({ code: 'tls' });
  });
});

describe('a TLS session', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'of %s is resumed by the same tenant, and by no other',
    async (version) => {
      const { url, resumed } = await tlsServer(trusted, { minVersion: version, maxVersion: version });
      const send = aSender();
      for (const tenantId of ['one', 'one', 'other', 'other']) {
        expect(await send(url, { tenantId })).toMatchObject({ statusCode: 200 });
      }
      expect(resumed).toEqual([false, true, false, true]);
    },
  );

  it('is not begun anew within a connection', async () => {
    let renegotiated: Error | null | undefined;
    const { url } = await tlsServer(trusted, {
      maxVersion: 'TLSv1.2',
      answer: (socket) => {
        socket.renegotiate({}, (error) => (renegotiated = error));
        socket.once('error', (error) => (renegotiated = error));
      },
    });
    expect(await aSender()(url)).toMatchObject({
      kind: 'failure',
      code: expect.stringMatching('tls|connection_reset'),
    });
    expect(renegotiated).toMatchObject({ message: expect.stringMatching(/renegotiation/) });
  });
});

describe('a server that spends our time with TLS', () => {
  it.each<[string, Behaviour]>([
    ['answers in plain HTTP', (socket) => void socket.write(CLOSING)],
    ['sends garbage', (socket) => void socket.write(Buffer.alloc(1_000, 0x99))],
    ['sends an empty record after the other', endless('', Buffer.from('1603030000'.repeat(100), 'hex'))],
  ])('is refused when it %s', async (_, behave) => {
    expect(await aSender()(await rawServer(behave))).toMatchObject({
      code: 'tls',
      message: expect.stringMatching(`^TLS with ${HOST}:\\d+: [\\w ]+$`),
    });
  });

  it('is refused when it sends without an end what OpenSSL passes over', async () => {
    // Records full of HelloRequest, which a client ignores during a handshake (RFC 5246 section 7.4.1.1).
    const record = Buffer.concat([Buffer.from('1603034000', 'hex'), Buffer.alloc(16_384)]);
    expect(await aSender()(await rawServer(endless('', record)))).toMatchObject({
      code: 'tls',
      message: expect.stringMatching(/sent more than 32768 bytes or 64 records before the end of its certif/),
    });
  });

  it('is cut off when it sends its answer in records of a byte', async () => {
    const { url } = await tlsServer(trusted, {
      answer: (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n');
        const next = (): void => {
          if (!socket.destroyed) socket.write('.', next);
        };
        next();
      },
    });
    expect(await aSender()(url)).toMatchObject({
      statusCode: 200,
      note: expect.stringMatching(/^the answer was not complete/),
    });
  });

  it('is waited for no longer than the connect timeout when it says nothing', async () => {
    expect(await aSender({ connectTimeoutMs: 100 })(await rawServer(() => undefined))).toMatchObject({
      code: 'connect_timeout',
      message: expect.stringMatching(
        `^TCP was connected, but no TLS handshake finished with ${HOST}:\\d+ within`,
      ),
    });
  });

  // node:tls cannot send more than two tickets.
  it.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    'is refused when it sends more than 8 session tickets',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'posthorn-tls-'));
      writeFileSync(join(folder, 'both.pem'), trusted.key + trusted.cert);
      const server = spawn(
        'openssl',
        ['s_server', '-accept', '127.0.0.1:0', '-cert', join(folder, 'both.pem'), '-num_tickets', '20'],
        { stdio: ['pipe', 'pipe', 'ignore'] },
      );
      stops.push(() => {
        server.kill();
        rmSync(folder, { recursive: true });
      });
      let said = '';
      let port: string | undefined;
      for await (const text of server.stdout) {
        said += String(text);
        if ((port = /ACCEPT \S+:(\d+)/.exec(said)?.[1]) !== undefined) break;
      }
      expect(await aSender()(`https://${HOST}:${port}/`)).toMatchObject({
        code: 'tls',
        message: expect.stringMatching(/the server sent more than 8 session tickets$/),
      });
    },
  );
});

/** From the host's certificate up to the authority: so many, all but the first with keys on this curve. */
function chainOf(length: number, namedCurve: string): Certificate {
  const keys = generateKeyPairSync('ec', { namedCurve });
  let issuer = authority;
  let cert = issuer.cert;
  for (let n = 2; n < length; n += 1) {
    issuer = certificateFor(`authority ${n}`, { issuer, isAuthority: true, keys });
    cert = issuer.cert + cert;
  }
  const leaf = certificateFor(HOST, { issuer });
  return { ...leaf, cert: leaf.cert + cert };
}

const HANDSHAKES: [string, TlsOptions][] = [
  ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'].map(
    (ciphers): [string, TlsOptions] => [ciphers, { ciphers, minVersion: 'TLSv1.3' }],
  ),
  ['TLS 1.3 with a HelloRetryRequest', { ecdhCurve: 'P-384', minVersion: 'TLSv1.3' }],
];

describe.each(HANDSHAKES)('the chain of certificates, with %s,', (_, options) => {
  it.each([2, 6])('may have %i', async (length) => {
    const { url, connections } = await tlsServer(chainOf(length, 'P-256'), options);
    expect(await aSender()(url)).toMatchObject({ statusCode: 200, body: 'ok' });
    expect(connections).toHaveLength(1);
  });

  it.each<[string, Certificate, RegExp]>([
    ['has 7', chainOf(7, 'P-256'), /the server sent 7 certificates, and at most 6 are taken$/],
    [
      'has a costly key',
      chainOf(3, 'sect571r1'),
      /certificate 2 of the server has a kind of key that is not/,
    ],
  ])('is refused when it %s', async (__, chain, reason) => {
    const { url } = await tlsServer(chain, options);
    expect(await aSender()(url)).toMatchObject({ code: 'tls', message: expect.stringMatching(reason) });
  });

  it('may come in any pieces, and so may what follows', async () => {
    const body = 'k'.repeat(40_000);
    const answer = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    let asked = '';
    const { url } = await tlsServer(trusted, { ...options, answer: (socket) => void socket.write(answer) });
    for (const size of [1, 4, 7, 4_096]) {
      const sender = aSender();
      const target = await inPieces(Number(new URL(url).port), size, (text) => (asked += text));
      const first = await sender(target);
      expect(first).toMatchObject({ statusCode: 200 });
      expect(await sender(target)).toEqual({ ...first, durationMs: expect.any(Number) });
    }
    expect(asked).not.toBe('');
  });
});

/** Stands before a server, whose bytes it hands on so many at a time up to the first 8 KiB. */
async function inPieces(port: number, size: number, onAsked: (text: string) => void): Promise<string> {
  const proxy = createTcpServer({ noDelay: true }, (client) => {
    const server = connect(port, '127.0.0.1');
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('data', (bytes) => onAsked(bytes.toString('latin1')));
    client.pipe(server);
    server.on('data', (bytes: Buffer) => {
      const pieces = Math.min(bytes.length, client.bytesWritten < 8_192 ? 8_192 : 0);
      for (let at = 0; at < pieces; at += size) client.write(bytes.subarray(at, Math.min(at + size, pieces)));
      if (pieces < bytes.length) client.write(bytes.subarray(pieces));
    });
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  stops.push(() => proxy.close());
  return `https://${HOST}:${(proxy.address() as AddressInfo).port}/`;
}

/** Milliseconds of CPU time of this process. */
async function cpuMsOf(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

describe('a server whose handshake would cost much', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'costs a small part of what its chain would, with %s',
    async (version) => {
      const { url } = await tlsServer(chainOf(97, 'sect571r1'), { minVersion: version, maxVersion: version });
      const send = aSender();
      await send(url);
      const keys = generateKeyPairSync('ec', { namedCurve: 'sect571r1' });
      const signature = sign('sha256', Buffer.from('x'), keys.privateKey);
      const whole = await cpuMsOf(() => {
        for (let n = 0; n < 95; n += 1) verify('sha256', Buffer.from('x'), keys.publicKey, signature);
      });
      const spent = await cpuMsOf(async () => {
        for (let n = 0; n < 5; n += 1) expect(await send(url)).toMatchObject({ code: 'tls' });
      });
      expect(spent / 5).toBeLessThan(whole / 10);
    },
  );

  it('is refused when it wants Diffie-Hellman over a group of its own', async () => {
    const keys = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const certificate = certificateFor(HOST, { issuer: authority, keys });
    const options: TlsOptions = { maxVersion: 'TLSv1.2', dhparam: 'auto' };
    const [url, other] = await Promise.all(
      ['DHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'].map(async (ciphers) => {
        return (await tlsServer(certificate, { ...options, ciphers })).url;
      }),
    );
    expect(await aSender()(url ?? '')).toMatchObject({ code: 'tls' });
    expect(await aSender()(other ?? '')).toMatchObject({ statusCode: 200 });
  });
});
