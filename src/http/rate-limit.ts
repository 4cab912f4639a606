import { Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Problem } from '../domain/errors.js';
import { RateLimitDecision, rateLimitHeaders, RateLimitRule } from '../domain/token-bucket.js';
import { RateLimiter } from '../limits/rate-limiter.js';
import { Metrics } from '../observability/metrics.js';

/** Whom a request is charged to, and under which rule. */
export interface Charged {
  tenantId: string;
  rate: RateLimitRule;
}

type ChargedSource = Charged & { id: string };

/** Of a body at a source, for what one request costs: few webhooks have more. */
export const BYTES_A_REQUEST = 16 * 1_024;

/** What requests cost their tenants. */
@Injectable()
export class TenantRateLimit {
  constructor(
    private readonly limiter: RateLimiter,
    private readonly metrics: Metrics,
  ) {}

  /**
   * Takes what a request costs from its tenant's bucket, and says in its answer how much is left there.
   * @param cost requests that it counts as: a batch is one for each of its events
   * @param paid how much of that was taken before, when the rest was not known yet
   * @throws Problem rate_limited, by rejecting where the bucket had to be asked for in Redis
   */
  charge({ tenantId, rate }: Charged, reply: FastifyReply, cost = 1, paid = 0): void | Promise<void> {
    if (cost <= paid) return;
    const decision = this.limiter.take(tenantId, rate, cost - paid, paid);
    if (decision instanceof Promise) return decision.then((late) => this.settle(late, rate, reply));
    this.settle(decision, rate, reply);
  }

  /**
   * Takes one change from a bucket of its own: each leaves an entry in the audit log, which is kept for long.
   * @throws Problem rate_limited
   */
  chargeChange({ tenantId, rate }: Charged): void | Promise<void> {
    const rule = changesWithin(rate);
    const refuseBeyond = ({ allowed, retryAfterSeconds }: RateLimitDecision): void => {
      if (allowed) return;
      this.metrics.tenantLimited();
      throw new Problem(
        'rate_limited',
        `This tenant may make ${rule.perSecond} changes a second, ${rule.burst} at once. Nothing of this request was ` +
          'done; send it again after the time in Retry-After.',
        { retryAfterSeconds },
      );
    };
    const decision = this.limiter.take(`${tenantId}:changes`, rule, 1);
    if (decision instanceof Promise) return decision.then(refuseBeyond);
    refuseBeyond(decision);
  }

  /**
   * Takes one request from the bucket of a source, which is as large as its tenant's: a client that knows its address can
   * empty it without a signature.
   * @throws Problem rate_limited
   */
  chargeSource(source: ChargedSource): void | Promise<void> {
    return this.takeOfSource(source, 1, 0);
  }

  /**
   * Takes what the body of a request costs beyond that one, before it is hashed: one for each {@link BYTES_A_REQUEST}
   * that are begun.
   * @throws Problem rate_limited
   */
  chargeSourceBody(source: ChargedSource, bytes: number): void | Promise<void> {
    const cost = Math.ceil(bytes / BYTES_A_REQUEST) - 1;
    if (cost > 0) return this.takeOfSource(source, cost, 1);
  }

  private takeOfSource(
    { id, tenantId, rate }: ChargedSource,
    cost: number,
    paid: number,
  ): void | Promise<void> {
    const refuseBeyond = ({ allowed, retryAfterSeconds }: RateLimitDecision): void => {
      if (allowed) return;
      this.metrics.tenantLimited();
      throw new Problem(
        'rate_limited',
        `This source takes ${rate.perSecond} requests a second, ${rate.burst} at once; one counts as many as it has ` +
          `pieces of ${BYTES_A_REQUEST / 1_024} KiB. Nothing of this request was stored; send it again after the time ` +
          'in Retry-After.',
        { retryAfterSeconds },
      );
    };
    const decision = this.limiter.take(`${tenantId}:source:${id}`, rate, cost, paid);
    if (decision instanceof Promise) return decision.then(refuseBeyond);
    refuseBeyond(decision);
  }

  private settle(decision: RateLimitDecision, rate: RateLimitRule, reply: FastifyReply): void {
    void reply.headers(rateLimitHeaders(decision, rate));
    if (decision.allowed) return;
    this.metrics.tenantLimited();
    throw new Problem(
      'rate_limited',
      `This tenant may make ${rate.perSecond} requests a second, ${rate.burst} at once; a batch counts as many as it ` +
        'has events. Nothing of this request was done; send it again after the time in Retry-After.',
      { retryAfterSeconds: decision.retryAfterSeconds },
    );
  }
}

/** 20 a second and 1,000 at once where a tenant may ask 1,000 and 5,000; few tenants need more, and none a flood. */
function changesWithin({ perSecond, burst }: RateLimitRule): RateLimitRule {
  return { perSecond: Math.max(perSecond / 50, 1), burst: Math.max(Math.floor(burst / 5), 20) };
}
