import { Injectable } from '@nestjs/common';
import type { buildConnector } from 'undici';
import type { SendResult } from '../domain/attempt-outcome.js';
import type { AddressRules } from '../domain/target-address.js';
import { type InvalidTargetUrl, parseTargetUrl } from '../domain/target-url.js';
import { guardedConnector, type OnRefused } from './guarded-connector.js';
import { HttpExchange } from './http-exchange.js';
import { MAX_IDLE_MS, OriginPool } from './origin-pool.js';
import { SenderClosed } from './send-failure.js';
import type { ResolveAddresses } from './target-resolver.js';

export interface OutgoingRequest {
  url: string;
  headers: Record<string, string>;
  body: Buffer;
  /** Milliseconds from the call until the response has been read. */
  timeoutMs: number;
}

export interface HttpSenderOptions {
  rules: AddressRules;
  /** Milliseconds for DNS, TCP and TLS together. */
  connectTimeoutMs: number;
  maxConnectionsPerOrigin: number;
  /** Told of what the rules refused. */
  onRefused?: OnRefused;
  /** Stands in for DNS in tests. */
  resolve?: ResolveAddresses;
}

/** What a target URL says, in the parts of which a request is made. */
interface Target {
  origin: string;
  host: string;
  path: string;
}

const MAX_TARGETS = 10_000;

/**
 * POSTs deliveries. Connections are kept alive per origin and go only where the address rules let them
 * (`guarded-connector.ts`). Redirects are not followed, bodies not decompressed, and no proxy of the
 * environment is used.
 */
@Injectable()
export class HttpSender {
  private readonly connect: buildConnector.connector;
  private readonly targets = new Map<string, Target>();
  private readonly pools = new Map<string, OriginPool>();
  private readonly sweep: NodeJS.Timeout;
  private isClosed = false;

  constructor(private readonly options: HttpSenderOptions) {
    this.connect = guardedConnector(options);
    this.sweep = setInterval(() => this.letGoOfIdleOrigins(), MAX_IDLE_MS).unref();
  }

  /** Whatever goes wrong is a result; the promise never rejects. */
  send(request: OutgoingRequest): Promise<SendResult> {
    let target: Target;
    try {
      target = this.targetOf(request.url);
    } catch (error) {
      const message = `the target URL ${(error as InvalidTargetUrl).message}`;
      return Promise.resolve({ kind: 'failure', code: 'invalid_target', message, durationMs: 0 });
    }
    const { headers, body, timeoutMs } = request;
    const { origin, host, path } = target;
    const exchange = new HttpExchange({ method: 'POST', path, headers, body }, host, timeoutMs);
    if (this.isClosed) exchange.failWith(new SenderClosed());
    else this.poolOf(origin).submit(exchange);
    return exchange.result;
  }

  /** Ends what is under way as failures (`connection_reset`) and closes all connections. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.sweep);
    await Promise.all([...this.pools.values()].map((pool) => pool.destroy()));
    this.pools.clear();
  }

  /** Remembered: to parse a URL costs 5 µs. */
  private targetOf(text: string): Target {
    let target = this.targets.get(text);
    if (target === undefined) {
      const url = parseTargetUrl(text);
      target = { origin: url.origin, host: url.host, path: url.pathname + url.search };
      if (this.targets.size >= MAX_TARGETS) this.targets.clear();
      this.targets.set(text, target);
    }
    return target;
  }

  private poolOf(origin: string): OriginPool {
    let pool = this.pools.get(origin);
    if (pool === undefined) {
      pool = new OriginPool(origin, this.options.maxConnectionsPerOrigin, this.connect);
      this.pools.set(origin, pool);
    }
    return pool;
  }

  private letGoOfIdleOrigins(): void {
    const idleSince = performance.now() - MAX_IDLE_MS;
    for (const [origin, pool] of this.pools) {
      if (!pool.isIdleSince(idleSince)) continue;
      this.pools.delete(origin);
      void pool.destroy();
    }
  }
}
