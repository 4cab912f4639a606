import { Injectable } from '@nestjs/common';
import type { SendResult } from '../domain/attempt-outcome.js';
import { boundedCache } from '../domain/bounded-cache.js';
import type { AddressRules } from '../domain/target-address.js';
import { type InvalidTargetUrl, parseTargetUrl } from '../domain/target-url.js';
import { NO_LIMITS, type Postponed, type RequestKind, type RequestLimits } from './destination-limits.js';
import { type Connect, type ConnectTarget, guardedConnector, type OnRefused } from './guarded-connector.js';
import { HttpExchange } from './http-exchange.js';
import { IdleConnections } from './idle-connections.js';
import { OriginPool } from './origin-pool.js';
import { InvalidRequest, requestHead } from './request-head.js';
import { describeFailure, SenderClosed } from './send-failure.js';
import { RestingConnections } from './resting-connections.js';
import type { ResolveAddresses } from './target-resolver.js';

export interface OutgoingRequest {
  /** Whose request it is: connections are never shared between tenants. */
  tenantId: string;
  /** Nor between requests that authenticate themselves differently; the same for those that do not. */
  credential?: string;
  url: string;
  headers: Record<string, string>;
  body: Buffer;
  /** Milliseconds from the call until the response has been read. */
  timeoutMs: number;
  kind?: RequestKind;
}

export interface HttpSenderOptions {
  rules: AddressRules;
  /** Milliseconds for DNS, TCP and TLS together. */
  connectTimeoutMs: number;
  maxConnectionsPerOrigin: number;
  /** What all requests to an address have to share; none where it is left out, as in tests. */
  limits?: RequestLimits;
  /** Told of what the rules refused. */
  onRefused?: OnRefused;
  /** Stands in for DNS in tests. */
  resolve?: ResolveAddresses;
  /** Certificate authorities (PEM) in the place of Node's own, for tests. */
  ca?: string | undefined;
}

/** What a target URL says, in the parts of which a request is made. */
interface Target {
  origin: string;
  protocol: string;
  hostname: string;
  port: string;
  host: string;
  path: string;
}

const MAX_TARGETS = 10_000;
/** Pools beyond these are dropped when they are unused, also those that remember a server's stray bytes. */
const MAX_DISTRUSTED_POOLS = 5_000;
/** Milliseconds between two looks for connections whose time is over. */
const SWEEP_MS = 1_000;

/**
 * POSTs deliveries over HTTP/1.1. Connections are kept alive per tenant, credential and origin, and go only where the
 * address rules let them (`guarded-connector.ts`). Redirects are not followed, and no proxy of the environment is used.
 */
@Injectable()
export class HttpSender {
  private readonly connect: Connect;
  private readonly targets = boundedCache<Target>(MAX_TARGETS);
  private readonly pools = new Map<string, OriginPool>();
  private readonly idleConnections = new IdleConnections();
  private readonly restingConnections = new RestingConnections();
  private readonly sweep: NodeJS.Timeout;
  private isClosed = false;

  constructor(private readonly options: HttpSenderOptions) {
    this.connect = guardedConnector(options);
    this.sweep = setInterval(() => this.closeUnused(), SWEEP_MS).unref();
  }

  /**
   * Whatever goes wrong is a result; the promise never rejects. A request that its destination takes no more of is
   * postponed: nothing of it was sent.
   */
  send(request: OutgoingRequest): Promise<SendResult | Postponed> {
    const { url, headers, body, timeoutMs, kind } = request;
    let target: Target;
    let head: string;
    try {
      target = this.targetOf(url);
      head = requestHead(target, headers, body.length);
    } catch (error) {
      return Promise.resolve(notSent(error as InvalidTargetUrl | InvalidRequest));
    }
    const exchange = new HttpExchange(head, body, target.host, timeoutMs, kind);
    if (this.isClosed) exchange.failWith(new SenderClosed());
    else this.poolOf(request, target).submit(exchange);
    return exchange.result;
  }

  /** Ends what is under way as failures (`connection_reset`) and closes all connections. */
  close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.sweep);
    for (const pool of this.pools.values()) pool.destroy();
    this.pools.clear();
    return Promise.resolve();
  }

  /** Remembered: to parse a URL costs 5 µs. */
  private targetOf(text: string): Target {
    let target = this.targets.get(text);
    if (target === undefined) {
      const url = parseTargetUrl(text);
      const { origin, protocol, port, host } = url;
      const hostname = url.hostname.replace(/^\[|\]$/g, '');
      target = { origin, protocol, hostname, port, host, path: url.pathname + url.search };
      this.targets.set(text, target);
    }
    return target;
  }

  private poolOf({ tenantId, credential = '' }: OutgoingRequest, target: Target): OriginPool {
    const key = `${tenantId} ${credential} ${target.origin}`;
    let pool = this.pools.get(key);
    if (pool === undefined) {
      const { protocol, hostname, port } = target;
      const connectTarget: ConnectTarget = { protocol, hostname, port, tenantId };
      const { maxConnectionsPerOrigin, limits = NO_LIMITS } = this.options;
      const { connect, idleConnections, restingConnections } = this;
      pool = new OriginPool(
        connectTarget,
        maxConnectionsPerOrigin,
        connect,
        limits,
        idleConnections,
        restingConnections,
      );
      this.pools.set(key, pool);
    }
    return pool;
  }

  private closeUnused(): void {
    const now = performance.now();
    this.idleConnections.closeExpired(now);
    for (const [key, pool] of this.pools) {
      const isRemembered = pool.isDistrusted && this.pools.size <= MAX_DISTRUSTED_POOLS;
      if (pool.isUnused(now) && !isRemembered) this.pools.delete(key);
    }
  }
}

function notSent(error: InvalidTargetUrl | InvalidRequest): SendResult {
  const failure =
    error instanceof InvalidRequest
      ? describeFailure(error, { host: '', hasBegun: false })
      : { code: 'invalid_target' as const, message: `the target URL ${error.message}` };
  return { kind: 'failure', ...failure, durationMs: 0 };
}
