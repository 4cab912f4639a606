import { Client, type Dispatcher } from 'undici';
import type { OutgoingRequest } from '../src/delivery/http-sender.js';
import type { SendResult } from '../src/domain/attempt-outcome.js';

const KEEP_ALIVE_MS = 4_000;
const MAX_KEEP_ALIVE_MS = 30_000;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_BODY_KEPT = 4 * 1024;

/**
 * The yardstick for the service's own HTTP client: POSTs over undici, one `Client` for each connection, with the timeout
 * and the result that a delivery needs, and none of the guards.
 */
export class UndiciSender {
  private readonly pools = new Map<string, UndiciPool>();

  constructor(private readonly maxConnectionsPerOrigin: number) {}

  send({ url, headers, body, timeoutMs }: OutgoingRequest): Promise<SendResult> {
    const pathAt = url.indexOf('/', 'https://'.length);
    const origin = url.slice(0, pathAt);
    let pool = this.pools.get(origin);
    if (pool === undefined)
      this.pools.set(origin, (pool = new UndiciPool(origin, this.maxConnectionsPerOrigin)));
    const exchange = new UndiciExchange(
      { method: 'POST', path: url.slice(pathAt), headers, body },
      timeoutMs,
    );
    pool.submit(exchange);
    return exchange.result;
  }
}

class UndiciPool {
  private readonly idle: Client[] = [];
  private readonly queue: UndiciExchange[] = [];
  private busy = 0;

  constructor(
    private readonly origin: string,
    private readonly maxConnections: number,
  ) {}

  submit(exchange: UndiciExchange): void {
    if (this.busy >= this.maxConnections) {
      this.queue.push(exchange);
      return;
    }
    this.busy += 1;
    const client = this.idle.pop() ?? this.newClient();
    exchange.onFree = () => {
      this.busy -= 1;
      this.idle.push(client);
      const next = this.queue.shift();
      if (next !== undefined) this.submit(next);
    };
    client.dispatch(exchange.request, exchange);
  }

  private newClient(): Client {
    return new Client(this.origin, {
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }
}

class UndiciExchange implements Dispatcher.DispatchHandler {
  readonly result: Promise<SendResult>;
  onFree: () => void = () => undefined;
  private readonly startedAt = performance.now();
  private readonly timer: NodeJS.Timeout;
  private resolve!: (result: SendResult) => void;
  private controller: Dispatcher.DispatchController | null = null;
  private statusCode = 0;
  private headers: Record<string, string | string[] | undefined> = {};
  private body = '';

  constructor(
    readonly request: Dispatcher.DispatchOptions,
    timeoutMs: number,
  ) {
    this.result = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.timer = setTimeout(() => this.controller?.abort(new Error('timed out')), timeoutMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    statusCode: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.statusCode = statusCode;
    this.headers = headers;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.body.length < MAX_BODY_KEPT) this.body += chunk.toString('utf8');
  }

  onResponseEnd(): void {
    const headers: Record<string, string> = {};
    for (const name in this.headers) headers[name] = String(this.headers[name]);
    this.settle({
      kind: 'response',
      statusCode: this.statusCode,
      headers,
      body: this.body,
      retryAfter: headers['retry-after'] ?? null,
      note: null,
      durationMs: Math.round(performance.now() - this.startedAt),
    });
  }

  onResponseError(_: Dispatcher.DispatchController, { message }: Error): void {
    this.settle({ kind: 'failure', code: 'connection_reset', message, durationMs: 0 });
  }

  private settle(result: SendResult): void {
    clearTimeout(this.timer);
    this.resolve(result);
    this.onFree();
  }
}
