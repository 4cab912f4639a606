import { connect } from 'node:net';
import { Pool } from 'undici';
import type { Answer } from '../support/posthorn.js';
import type { FuzzRequest } from './request-arbitrary.js';

const ANSWER_TIMEOUT_MS = 20_000;

/** What an HTTP client may send; anything else is written onto a socket of its own. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** A client sets these itself, or they change what the connection is. */
const FRAMING = ['content-length', 'transfer-encoding', 'connection', 'upgrade', 'expect', 'te', 'host'];

/** Sends anything that can be written, whether it is HTTP or not. */
export class Transport {
  private readonly pool: Pool;
  private readonly address: URL;

  constructor(url: string, connections: number) {
    this.pool = new Pool(url, {
      connections,
      bodyTimeout: ANSWER_TIMEOUT_MS,
      headersTimeout: ANSWER_TIMEOUT_MS,
    });
    this.address = new URL(url);
  }

  /** @returns what came back; undefined where the connection was closed without an answer */
  async send(request: FuzzRequest): Promise<Answer | undefined> {
    return isOrdinary(request) ? this.sendOrdinary(request) : this.sendBytes(request);
  }

  async close(): Promise<void> {
    await this.pool.close();
  }

  private async sendOrdinary({ method, target, headers, body }: FuzzRequest): Promise<Answer> {
    const answer = await this.pool.request({
      method: method,
      path: `/api/v1${target}`,
      headers: headers.flat(),
      body: body ?? null,
    });
    return answered(answer.statusCode, answer.headers, await answer.body.text());
  }

  private sendBytes({ method, target, headers, body = '' }: FuzzRequest): Promise<Answer | undefined> {
    const lines = [
      `${method} /api/v1${target} HTTP/1.1`,
      ...(headers.some(([name]) => name === 'host') ? [] : [`host: ${this.address.host}`]),
      'connection: close',
      ...headers.map(([name, value]) => `${name}: ${value}`),
      ...(headers.some(([name]) => name === 'content-length')
        ? []
        : [`content-length: ${Buffer.byteLength(body)}`]),
    ];
    const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let isReset = false;
      const socket = connect(Number(this.address.port), this.address.hostname);
      socket.setTimeout(ANSWER_TIMEOUT_MS, () => {
        // Something announced more than it sent: a server may wait for the rest for longer than we do.
        socket.destroy();
      });
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (!['ECONNRESET', 'EPIPE'].includes(error.code ?? '')) reject(error);
        isReset = true;
      });
      socket.on('close', () => {
        const answer = parsedAnswer(Buffer.concat(chunks));
        // A reset overtakes what was sent before it (RFC 9112 section 9.6), where a body was sent that nothing reads.
        const isCut =
          isReset && Buffer.byteLength(answer?.text ?? '') < Number(answer?.headers['content-length'] ?? 0);
        resolve(isCut ? undefined : answer);
      });
      socket.write(head);
      // Half closed, so that a body that is shorter than announced is seen to end.
      socket.end(body);
    });
  }
}

function isOrdinary({ method, target, headers, body }: FuzzRequest): boolean {
  return (
    TOKEN.test(method) &&
    !(body !== undefined && ['HEAD', 'TRACE', 'GET'].includes(method)) &&
    /^[\x21-\x7e]*$/.test(target) &&
    headers.every(
      ([name, value]) => TOKEN.test(name) && VALUE.test(value) && !FRAMING.includes(name.toLowerCase()),
    )
  );
}

/** The last answer of a connection: interim ones (100, 103) come before it. */
function parsedAnswer(bytes: Buffer): Answer | undefined {
  const text = bytes.toString('utf8');
  const start = /HTTP\/1\.1 (?!1\d\d)(\d{3})[^\r\n]*\r\n/.exec(text);
  if (!start) return undefined;
  const after = text.slice(start.index + start[0].length);
  const end = after.indexOf('\r\n\r\n');
  const headers = Object.fromEntries(
    after
      .slice(0, Math.max(end, 0))
      .split('\r\n')
      .map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
  ) as Record<string, string>;
  return answered(Number(start[1]), headers, after.slice(end + 4));
}

function answered(status: number, headers: Answer['headers'], text: string): Answer {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status, headers, text, body };
}
