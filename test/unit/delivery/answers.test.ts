import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpSender } from '../../../src/delivery/http-sender.js';
import {
  InvalidResponse,
  MAX_BYTES,
  MAX_HEAD_BYTES,
  ResponseParser,
} from '../../../src/delivery/response-parser.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { type Answer, ANSWERS } from './answers.js';

/**
 * Milliseconds for which an answer that has no end is waited for. Where one was expected and none came, the machine may
 * only be busy: it is asked for again with the next.
 */
const PATIENCES_MS = [500, 5_000, 30_000];

/** Writes the answer whose number is the path, for the first request of a connection. */
const server = createServer((socket) => {
  open.add(socket);
  socket.on('error', () => undefined);
  socket.once('data', (bytes: Buffer) => {
    const { raw, closes } = ANSWERS[Number(/^POST \/(\d+)/.exec(bytes.toString('latin1'))![1])]!;
    if (closes) socket.end(raw, 'latin1');
    else socket.write(raw, 'latin1');
  });
});
const open = new Set<Socket>();
const sender = new HttpSender({
  rules: AddressRules.parse('127.0.0.0/8'),
  connectTimeoutMs: 5_000,
  maxConnectionsPerOrigin: 500,
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(async () => {
  await sender.close();
  for (const socket of open) socket.destroy();
  server.close();
});

const urlOf = (index: number) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${index}`;

const bodyOf = (text: string) => (text.length > 100 ? `${text.length} ${text[0]}` : text);

/** The parser alone, as a table's row says it. */
function parsed({ raw, closes }: Answer, cuts: number[] = []): string {
  const parser = parse(Buffer.from(raw, 'latin1'), cuts, closes === true);
  if (parser instanceof InvalidResponse) return 'protocol';
  if (parser.head === null) return closes ? 'connection_reset' : 'timeout';
  if (!parser.isDone) parser.stop('it had no end');
  const again = parser.keepAliveMs > 0 ? 'again' : `once${parser.note === null ? '' : `, ${parser.note}`}`;
  return `${parser.head.statusCode} "${bodyOf(Buffer.concat(parser.kept).toString())}" ${again}`;
}

function parse(bytes: Buffer, cuts: number[], closes: boolean): ResponseParser | InvalidResponse {
  const parser = new ResponseParser();
  try {
    let from = 0;
    for (const to of [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]) {
      if (to > from) parser.push(bytes.subarray(from, to));
      from = to;
    }
    if (closes) parser.end(true);
    return parser;
  } catch (error) {
    if (error instanceof InvalidResponse) return error;
    throw error;
  }
}

it('has a hundred cases, each with a name of its own', () => {
  expect(ANSWERS.length).toBeGreaterThanOrEqual(100);
  expect(new Set(ANSWERS.map(({ name }) => name)).size).toBe(ANSWERS.length);
});

it.each(ANSWERS)('the parser: $name', (answer) => {
  expect(parsed(answer)).toBe(answer.then);
});

it('the sender concludes the same over a socket, and so do node:http and curl unless the table says why not', async () => {
  const hasCurl = await curl('--version').then(
    () => true,
    () => false,
  );
  const rows: { answer: Answer; ours: string; node: string | null; curl: string | null }[] = [];
  const left = ANSWERS.entries();
  const worker = async () => {
    for (const [index, answer] of left) {
      const expected = expectedOf(answer);
      const isWrong = (mine: string) => mine !== expected && /^timeout$|no end$/.test(mine);
      const isMissing = (status: string | null) =>
        status === null && /^\d/.test(expected) && answer.unlike === undefined;
      rows.push({
        answer,
        ours: await patiently((patience) => ours(index, patience), isWrong),
        node: await patiently((patience) => nodeStatus(index, patience), isMissing),
        curl: hasCurl ? await patiently((patience) => curlStatus(index, patience), isMissing) : null,
      });
    }
  };
  await Promise.all(Array.from({ length: 12 }, worker));
  const unexplained: string[] = [];
  for (const { answer, ours, node, curl } of rows) {
    expect(ours, answer.name).toBe(expectedOf(answer));
    const status = /^\d{3}/.exec(ours)?.[0] ?? null;
    for (const [who, theirs] of Object.entries({ node, curl })) {
      const isSame = theirs === null ? status === null || (who === 'curl' && !hasCurl) : theirs === status;
      if (!isSame && answer.unlike === undefined)
        unexplained.push(`${answer.name}: ${who} says ${theirs}, we say ${ours}`);
    }
  }
  expect(unexplained).toEqual([]);
});

/** The result without what becomes of the connection. */
const expectedOf = ({ then }: Answer): string => then.replace(/ (?:again|once)\b/, '');

async function patiently<T>(
  ask: (patienceMs: number) => Promise<T>,
  isToBeAskedAgain: (result: T) => boolean,
): Promise<T> {
  const [first = 0, ...longer] = PATIENCES_MS;
  let result = await ask(first);
  for (const patienceMs of longer) if (isToBeAskedAgain(result)) result = await ask(patienceMs);
  return result;
}

async function ours(index: number, timeoutMs: number): Promise<string> {
  const body = Buffer.from('{}');
  // A tenant each, so that each answer has a connection of its own.
  const result = await sender.send({
    tenantId: `${index}`,
    url: urlOf(index),
    headers: {},
    body,
    timeoutMs,
  });
  if (result.kind === 'postponed') return 'postponed';
  if (result.kind === 'failure') return result.code;
  const note = result.note?.replace(/it had no end .*/, 'it had no end');
  return `${result.statusCode} "${bodyOf(result.body)}"${note === undefined ? '' : `, ${note}`}`;
}

/** The status that node:http gives with a body that has an end; null if there is none. */
function nodeStatus(index: number, patienceMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const sent = request(urlOf(index), { method: 'POST', agent: false }, (response) => {
      response.on('error', () => resolve(null));
      response.on('aborted', () => resolve(null));
      response.on('end', () => resolve(String(response.statusCode)));
      response.resume();
    });
    sent.on('error', () => resolve(null));
    // After a 101, nothing else is emitted.
    sent.on('close', () => resolve(null));
    sent.setTimeout(patienceMs, () => {
      resolve(null);
      sent.destroy();
    });
    sent.end('{}');
  });
}

function curlStatus(index: number, patienceMs: number): Promise<string | null> {
  const limits = ['--max-time', String(patienceMs / 1_000), '--noproxy', '*'];
  return curl('-s', '-o', '/dev/null', '-w', '%{http_code}', '-d', '{}', ...limits, urlOf(index)).catch(
    () => null,
  );
}

function curl(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('curl', args, (error, stdout) =>
      error ? reject(new Error('curl', { cause: error })) : resolve(stdout),
    );
  });
}

describe('any bytes in any pieces', () => {
  const raws = ANSWERS.filter(({ raw }) => raw.length < 5_000).map(({ raw }) => raw);
  const kept = ANSWERS.filter(({ raw, then }) => raw.length < 5_000 && then.endsWith('again')).map(
    ({ raw }) => raw,
  );
  const mutated = fc
    .tuple(
      fc.constantFrom(...raws),
      fc.nat(),
      fc.nat(4),
      fc.string({ unit: 'binary-ascii', maxLength: 6 }),
      fc.constantFrom(...raws),
    )
    .map(([raw, at, removed, added, other]) => {
      const place = at % (raw.length + 1);
      return raw.slice(0, place) + added + raw.slice(place + removed) + (at % 3 === 0 ? other : '');
    });
  const bytes = fc.oneof(
    mutated,
    fc.uint8Array({ maxLength: 200 }).map((some) => Buffer.from(some).toString('latin1')),
  );
  const cuts = fc.array(fc.nat(400), { maxLength: 12 });

  it('are never an error of ours, and mean the same in other pieces', () => {
    fc.assert(
      fc.property(bytes, cuts, fc.boolean(), (raw, where, closes) => {
        const answer = { name: '', raw, closes, then: '' };
        expect(parsed(answer, where)).toBe(parsed(answer));
        expect(
          parsed(
            answer,
            Array.from({ length: Math.min(raw.length, 400) }, (_, at) => at),
          ),
        ).toBe(parsed(answer));
      }),
      { numRuns: 500 },
    );
  });

  it('leave the connection usable only after an end that was announced and met to the byte', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom(...kept), mutated),
        fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 4 }),
        (raw, more) => {
          const whole = parse(Buffer.from(raw, 'latin1'), [], false);
          if (!(whole instanceof ResponseParser) || whole.keepAliveMs === 0) return;
          const longer = parse(Buffer.from(raw + more, 'latin1'), [], false) as ResponseParser;
          expect(longer.keepAliveMs).toBe(0);
          const shorter = parse(Buffer.from(raw.slice(0, -1), 'latin1'), [], false);
          if (shorter instanceof ResponseParser) expect(shorter.keepAliveMs).toBe(0);
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ['blank lines', '', '\r\n'],
    ['informational answers', '', 'HTTP/1.1 102 P\r\n\r\n'],
    ['headers', 'HTTP/1.1 200 OK\r\n', 'a: b\r\n'],
    ['one header', 'HTTP/1.1 200 OK\r\na: ', 'x'],
    ['body', 'HTTP/1.1 200 OK\r\n\r\n', 'x'],
    ['chunk extension', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;', 'x'],
    ['chunks of a byte', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'],
    ['trailers', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n', 'a: b\r\n'],
  ])('without an end are given up within the bounds: %s', (_, head, piece) => {
    const parser = new ResponseParser();
    const bytes = Buffer.from(piece.repeat(Math.ceil(16 / piece.length)), 'latin1');
    parser.push(Buffer.from(head || '\n'));
    const pushAll = () => {
      while (!parser.isDone && parser.bytes <= MAX_BYTES + 100) parser.push(bytes);
    };
    if (head.includes('\r\n\r\n') || head.includes('chunked')) pushAll();
    else expect(pushAll).toThrow(InvalidResponse);
    expect(parser.bytes).toBeLessThanOrEqual((parser.head === null ? MAX_HEAD_BYTES : MAX_BYTES) + 100);
  });
});
