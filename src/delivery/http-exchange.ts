import { StringDecoder } from 'node:string_decoder';
import type { Dispatcher } from 'undici';
import type { SendFailureCode, SendResult } from '../domain/attempt-outcome.js';
import { describeFailure, type SendFailure } from './send-failure.js';

/** Past this many bytes of response body the connection is dropped. */
const MAX_BODY_READ = 64 * 1024;
/** Bytes of response body that are kept as text. */
const MAX_BODY_KEPT = 4 * 1024;
/** Characters of response header names and values that are kept, together. */
const MAX_HEADERS_KEPT = 4 * 1024;

type ResponseHeaders = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2];

export interface ExchangeRequest extends Dispatcher.DispatchOptions {
  method: 'POST';
}

/**
 * One POST and its response, bounded in time and size: undici's handler for the request, and the promise of
 * its result. The result is there as soon as it is certain; `onFree` tells the connection's owner when undici
 * has let go of the connection, which may be later.
 */
export class HttpExchange implements Dispatcher.DispatchHandler {
  readonly result: Promise<SendResult>;
  /** Called once a connection: with null when it can be used again, else with the error that ended it. */
  onFree: (error: Error | null) => void = () => undefined;
  /** The line in which the exchange waits for a connection. */
  line: Set<HttpExchange> | null = null;

  private readonly startedAt = performance.now();
  private readonly timer: NodeJS.Timeout;
  private resolve!: (result: SendResult) => void;
  private settled = false;
  private controller: Dispatcher.DispatchController | null = null;
  private statusCode = 0;
  private headers: ResponseHeaders = {};
  private bytesRead = 0;
  private bytesKept = 0;
  private readonly kept: Buffer[] = [];

  /**
   * @param host for messages, e.g. `hooks.example.com:443`
   * @param timeoutMs from now until the response has been read
   */
  constructor(
    readonly request: ExchangeRequest,
    private readonly host: string,
    private readonly timeoutMs: number,
  ) {
    this.result = new Promise((resolve) => {
      this.resolve = resolve;
    });
    // Measured: a plain timer costs 0.3 µs a request, AbortSignal.timeout 8 µs.
    this.timer = setTimeout(() => this.timeOut(), timeoutMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.settled) controller.abort(new Error('no longer wanted'));
    else this.controller = controller;
  }

  onResponseStart(_: Dispatcher.DispatchController, statusCode: number, headers: ResponseHeaders): void {
    // 1xx is not the answer yet (RFC 9110 section 15.2).
    if (statusCode < 200) return;
    this.statusCode = statusCode;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.bytesKept < MAX_BODY_KEPT) {
      const part = chunk.subarray(0, MAX_BODY_KEPT - this.bytesKept);
      this.kept.push(part);
      this.bytesKept += part.length;
    }
    this.bytesRead += chunk.length;
    if (this.bytesRead <= MAX_BODY_READ) return;
    this.respond();
    controller.abort(new Error('enough of the response was read'));
  }

  onResponseEnd(): void {
    this.respond();
    this.onFree(null);
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.onFree(error);
  }

  /** Ends the exchange with what the error means, unless it has its result. */
  failWith(error: Error): void {
    const { code, message } = this.describe(error);
    this.fail(code, message);
  }

  /** The connection was lost before the response began, and the result is still open. */
  isLostUnanswered(error: Error): boolean {
    return !this.settled && this.statusCode === 0 && this.describe(error).code === 'connection_reset';
  }

  private describe(error: Error): SendFailure {
    return describeFailure(error, { host: this.host, statusCode: this.statusCode });
  }

  private timeOut(): void {
    const within = `within ${this.timeoutMs} ms`;
    if (this.line !== null) this.fail('timeout', `no connection to ${this.host} became free ${within}`);
    else if (this.controller === null)
      this.fail('connect_timeout', `no connection to ${this.host} ${within}`);
    else if (this.statusCode === 0) this.fail('timeout', `no answer ${within}`);
    else this.fail('timeout', `the ${this.statusCode} answer was not complete ${within}`);
    this.controller?.abort(new Error('timed out'));
  }

  private respond(): void {
    const retryAfter = this.headers['retry-after'] ?? null;
    this.settle({
      kind: 'response',
      statusCode: this.statusCode,
      headers: boundedHeaders(this.headers),
      body: this.bodyText(),
      retryAfter: Array.isArray(retryAfter) ? (retryAfter[0] ?? null) : retryAfter,
      durationMs: this.elapsedMs(),
    });
  }

  private fail(code: SendFailureCode, message: string): void {
    this.settle({ kind: 'failure', code, message, durationMs: this.elapsedMs() });
  }

  private settle(result: SendResult): void {
    if (this.settled) return;
    this.settled = true;
    clearTimeout(this.timer);
    this.line?.delete(this);
    this.resolve(result);
  }

  private elapsedMs(): number {
    return Math.round(performance.now() - this.startedAt);
  }

  private bodyText(): string {
    if (this.bytesKept === 0) return '';
    const bytes = this.kept.length === 1 ? (this.kept[0] as Buffer) : Buffer.concat(this.kept);
    // A character that the limit cut in two is left out; other invalid UTF-8 becomes U+FFFD.
    const isCut = this.bytesRead > this.bytesKept;
    return withoutNul(isCut ? new StringDecoder('utf8').write(bytes) : bytes.toString('utf8'));
  }
}

/** Lower-case names, several values joined by `, `; what does not fit into the limit is left out. */
function boundedHeaders(headers: ResponseHeaders): Record<string, string> {
  const bounded: Record<string, string> = {};
  let room = MAX_HEADERS_KEPT;
  for (const name in headers) {
    const values = headers[name] ?? '';
    const value = withoutNul(Array.isArray(values) ? values.join(', ') : values);
    if (name.length + value.length > room) continue;
    room -= name.length + value.length;
    bounded[name] = value;
  }
  return bounded;
}

/** Text in Postgres cannot hold U+0000. */
function withoutNul(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '') : text;
}
