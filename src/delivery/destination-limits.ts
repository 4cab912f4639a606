import { Inject, Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import type { RateLimitDecision, RateLimitRule } from '../domain/token-bucket.js';
import { RateLimiter } from '../limits/rate-limiter.js';
import { Metrics } from '../observability/metrics.js';
import type { Subscription } from '../domain/subscription.js';
import { type Destination, Destinations } from './destination.js';

/** Share of what a destination takes that one tenant may have, and share that each tenant is sure of. */
const TENANT_SHARE = 1 / 2;
const ASSURED_SHARE = 1 / 100;

/** A request may be sent, and `end` is to be called when it is over; or how long its lane had better wait. */
export type Admission = { isAdmitted: true; end: () => void } | { isAdmitted: false; retryInMs: number };

const UNLIMITED: Admission = { isAdmitted: true, end: () => undefined };

/**
 * Bounds what all subscriptions together send to one destination: requests a second, over all processes, and open
 * requests, of this process. A tenant has half of it at most, and in the rate a hundredth for sure, so that those who
 * fill a destination's limit never lock another tenant out.
 */
@Injectable()
export class DestinationLimits {
  private readonly total: RateLimitRule | null;
  private readonly ofTenant: RateLimitRule;
  private readonly assured: RateLimitRule;
  private readonly open = new OpenRequests();

  constructor(
    private readonly limiter: RateLimiter,
    private readonly destinations: Destinations,
    private readonly metrics: Metrics,
    @Inject(Config) private readonly config: Pick<Config, 'destinationRateLimit' | 'destinationConcurrency'>,
  ) {
    const { destinationRateLimit: perSecond } = config;
    this.total = perSecond === 0 ? null : ruleOf(perSecond);
    this.ofTenant = ruleOf(perSecond * TENANT_SHARE);
    this.assured = ruleOf(perSecond * ASSURED_SHARE);
  }

  /** @returns a promise only where other processes have to be asked */
  admit({ targetUrl, tenantId }: Subscription): Admission | Promise<Admission> {
    const destination = this.destinations.of(targetUrl);
    const { destinationConcurrency: limit } = this.config;
    if (destination.length === 0 || (limit === 0 && this.total === null)) return UNLIMITED;
    if (limit > 0 && !this.open.hasRoom(destination, tenantId, limit)) return this.refuse('concurrency', 0);
    const rate = this.chargeAll(destination, tenantId);
    if (rate instanceof Promise) return rate.then((late) => this.settle(late, destination, tenantId));
    return this.settle(rate, destination, tenantId);
  }

  private settle(refusal: RateLimitDecision | null, destination: Destination, tenantId: string): Admission {
    if (refusal !== null) return this.refuse('rate', refusal.retryAfterSeconds * 1000);
    if (this.config.destinationConcurrency === 0) return UNLIMITED;
    this.open.begin(destination, tenantId);
    return { isAdmitted: true, end: () => this.open.end(destination, tenantId) };
  }

  private refuse(limit: 'rate' | 'concurrency', retryInMs: number): Admission {
    this.metrics.destinationLimited(limit);
    return { isAdmitted: false, retryInMs };
  }

  /** @returns null when every bucket had a token, else the decision of one that had none */
  private chargeAll(
    destination: Destination,
    tenantId: string,
  ): RateLimitDecision | null | Promise<RateLimitDecision | null> {
    if (this.total === null) return null;
    for (let index = 0; index < destination.length; index++) {
      const refusal = this.charge(destination[index] as string, tenantId, this.total);
      if (refusal instanceof Promise) {
        return refusal.then((late) => late ?? this.chargeAll(destination.slice(index + 1), tenantId));
      }
      if (refusal !== null) return refusal;
    }
    return null;
  }

  private charge(
    address: string,
    tenantId: string,
    total: RateLimitRule,
  ): RateLimitDecision | null | Promise<RateLimitDecision | null> {
    const key = `to:${address}`;
    return afterwards(this.limiter.take(`${key}:${tenantId}`, this.ofTenant, 1), (own) =>
      own.allowed
        ? afterwards(this.limiter.take(key, total, 1), (all) =>
            all.allowed
              ? null
              : afterwards(this.limiter.take(`${key}:${tenantId}:assured`, this.assured, 1), (sure) =>
                  sure.allowed ? null : all,
                ),
          )
        : own,
    );
  }
}

/** Requests that are open in this process, by destination and tenant. */
class OpenRequests {
  private readonly total = new Map<string, number>();
  private readonly ofTenant = new Map<string, number>();

  /**
   * A tenant may have as many as it leaves free (dynamic thresholds, Choudhury and Hahne, 1998): one alone has half of
   * the limit, n have 1/(n+1) each, and as much is free for the next one.
   */
  hasRoom(destination: Destination, tenantId: string, limit: number): boolean {
    return destination.every((address) => {
      const free = limit - (this.total.get(address) ?? 0);
      return free > 0 && (this.ofTenant.get(`${address} ${tenantId}`) ?? 0) < free;
    });
  }

  begin(destination: Destination, tenantId: string): void {
    for (const address of destination) this.count(address, tenantId, 1);
  }

  end(destination: Destination, tenantId: string): void {
    for (const address of destination) this.count(address, tenantId, -1);
  }

  private count(address: string, tenantId: string, change: 1 | -1): void {
    add(this.total, address, change);
    add(this.ofTenant, `${address} ${tenantId}`, change);
  }
}

function add(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** What flows in within a second may be sent at once. */
function ruleOf(perSecond: number): RateLimitRule {
  return { perSecond: Math.max(perSecond, 0.01), burst: Math.max(Math.floor(perSecond), 1) };
}

/** Goes on at once where nothing has to be waited for: that is every delivery far from the limit. */
function afterwards<T, R>(value: T | Promise<T>, next: (value: T) => R | Promise<R>): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
