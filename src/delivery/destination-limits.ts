import { Inject, Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import type { RateLimitDecision, RateLimitRule } from '../domain/token-bucket.js';
import { RateLimiter } from '../limits/rate-limiter.js';
import { Metrics } from '../observability/metrics.js';

/** Share of what a destination takes that one tenant may have, and share that each tenant is sure of. */
const TENANT_SHARE = 1 / 2;
const ASSURED_SHARE = 1 / 100;
/** Challenges of one tenant to one destination, whatever asks for them: so many at once, and one each two seconds. */
const CHALLENGES: RateLimitRule = { perSecond: 0.5, burst: 10 };

/** A challenge asks a target whether it wants deliveries. */
export type RequestKind = 'delivery' | 'challenge';

/** Where the requests of a tenant on one connection go: the keys by which they are counted. */
export interface Destination {
  /** The operator's own network, of which nothing is counted but challenges. */
  readonly isExempt: boolean;
  readonly total: string;
  readonly ofTenant: string;
  readonly assured: string;
  readonly challenges: string;
}

/** A request may be sent, and `end` is to be called once when it is over; or how long to wait with it. */
export type Admission = { isAdmitted: true; end: () => void } | { isAdmitted: false; retryInMs: number };

/** What became of a request that its destination takes no more of: nothing was sent, and it is to be sent later. */
export interface Postponed {
  kind: 'postponed';
  retryInMs: number;
}

/** The destination takes no more requests right now. */
export class DestinationBusy extends Error {
  constructor(readonly retryInMs: number) {
    super('the destination has its share of requests');
  }
}

/** What the HTTP sender asks before each connection and each request. */
export interface RequestLimits {
  /** @param address that the connection goes to, after the look-up */
  destination(address: string, tenantId: string): Destination;
  /** @returns a promise only where other processes have to be asked */
  admit(destination: Destination, kind: RequestKind): Admission | Promise<Admission>;
}

const UNLIMITED: Admission = { isAdmitted: true, end: () => undefined };
const EXEMPT: Destination = { isExempt: true, total: '', ofTenant: '', assured: '', challenges: '' };

/** For senders that no tenant can use, such as those of tests. */
export const NO_LIMITS: RequestLimits = { destination: () => EXEMPT, admit: () => UNLIMITED };

/**
 * Bounds what all subscriptions together send to one destination: requests a second, over all processes, and open
 * requests, of this process. A tenant has half of it at most, and in the rate a hundredth for sure, so that those who
 * fill a destination's limit never lock another tenant out.
 *
 * A destination is an address (AddressRules.destinationOf), and never a name: who owns a domain has as many names as
 * wanted for any address. What the operator allows (ALLOW_TARGET_RANGES) is the operator's own network, and exempt.
 */
@Injectable()
export class DestinationLimits implements RequestLimits {
  private readonly total: RateLimitRule | null;
  private readonly ofTenant: RateLimitRule;
  private readonly assured: RateLimitRule;
  private readonly maxOpen: number;
  private readonly open = new OpenRequests();

  constructor(
    private readonly limiter: RateLimiter,
    private readonly metrics: Metrics,
    @Inject(Config)
    private readonly config: Pick<Config, 'addressRules' | 'destinationRateLimit' | 'destinationConcurrency'>,
  ) {
    const { destinationRateLimit: perSecond, destinationConcurrency } = config;
    this.total = perSecond === 0 ? null : ruleOf(perSecond);
    this.ofTenant = ruleOf(perSecond * TENANT_SHARE);
    this.assured = ruleOf(perSecond * ASSURED_SHARE);
    this.maxOpen = destinationConcurrency === 0 ? Infinity : destinationConcurrency;
  }

  destination(address: string, tenantId: string): Destination {
    const { addressRules } = this.config;
    const total = `to:${addressRules.destinationOf(address)}`;
    const ofTenant = `${total}:${tenantId}`;
    return {
      isExempt: addressRules.isOfOperator(address),
      total,
      ofTenant,
      assured: `${ofTenant}:assured`,
      challenges: `${ofTenant}:challenges`,
    };
  }

  admit(destination: Destination, kind: RequestKind): Admission | Promise<Admission> {
    if (kind === 'delivery') return this.admitRequest(destination);
    return afterwards(this.limiter.take(destination.challenges, CHALLENGES, 1), (decision) =>
      decision.allowed ? this.admitRequest(destination) : this.refuse('challenge', decision),
    );
  }

  /** It counts as open while the rate is asked for, or as many as ask at the same time could exceed the limit. */
  private admitRequest(destination: Destination): Admission | Promise<Admission> {
    if (destination.isExempt) return UNLIMITED;
    if (!this.open.begin(destination, this.maxOpen)) return this.refuse('concurrency');
    return afterwards(this.charge(destination), (refusal) => {
      if (refusal === null) return { isAdmitted: true, end: () => this.open.end(destination) };
      this.open.end(destination);
      return this.refuse('rate', refusal);
    });
  }

  private refuse(limit: 'rate' | 'concurrency' | 'challenge', decision?: RateLimitDecision): Admission {
    this.metrics.destinationLimited(limit);
    return { isAdmitted: false, retryInMs: (decision?.retryAfterSeconds ?? 0) * 1000 };
  }

  /** @returns null when every bucket had a token, else the decision of one that had none */
  private charge({
    total,
    ofTenant,
    assured,
  }: Destination): RateLimitDecision | null | Promise<RateLimitDecision | null> {
    const rule = this.total;
    if (rule === null) return null;
    return afterwards(this.limiter.take(ofTenant, this.ofTenant, 1), (own) =>
      own.allowed
        ? afterwards(this.limiter.take(total, rule, 1), (all) =>
            all.allowed
              ? null
              : afterwards(this.limiter.take(assured, this.assured, 1), (sure) =>
                  sure.allowed ? null : all,
                ),
          )
        : own,
    );
  }
}

/** Requests that are open in this process, by destination and tenant: what has none takes no memory. */
class OpenRequests {
  private readonly counts = new Map<string, number>();

  /**
   * A tenant may have as many as it leaves free (dynamic thresholds, Choudhury and Hahne, 1998): one alone has half of
   * the limit, n have 1/(n+1) each, and as much is free for the next one.
   * @returns whether it counts as open now
   */
  begin({ total, ofTenant }: Destination, limit: number): boolean {
    const free = limit - (this.counts.get(total) ?? 0);
    if (free <= 0 || (this.counts.get(ofTenant) ?? 0) >= free) return false;
    this.add(total, 1);
    this.add(ofTenant, 1);
    return true;
  }

  end({ total, ofTenant }: Destination): void {
    this.add(total, -1);
    this.add(ofTenant, -1);
  }

  private add(key: string, change: 1 | -1): void {
    const count = (this.counts.get(key) ?? 0) + change;
    if (count === 0) this.counts.delete(key);
    else this.counts.set(key, count);
  }
}

/** What flows in within a second may be sent at once. */
function ruleOf(perSecond: number): RateLimitRule {
  return { perSecond: Math.max(perSecond, 0.01), burst: Math.max(Math.floor(perSecond), 1) };
}

/** Goes on at once where nothing has to be waited for: that is every delivery far from the limit. */
function afterwards<T, R>(value: T | Promise<T>, next: (value: T) => R | Promise<R>): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
