import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import { notFound, Problem } from '../domain/errors.js';
import type { RateLimitRule } from '../domain/token-bucket.js';
import { RateLimiter } from '../limits/rate-limiter.js';
import { SubscriptionRepository } from '../persistence/repositories/subscription.repository.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { unverifiedTarget } from './subscription-columns.js';
import { SubscriptionResponse } from './subscription-response.dto.js';

/** Challenges of one subscription that may be asked for: three at once, and one each ten seconds. */
const CHALLENGES: RateLimitRule = { perSecond: 0.1, burst: 3 };

/** Has targets asked again whether they want what is sent there. */
@Injectable()
export class VerificationService {
  constructor(
    private readonly subscriptions: SubscriptionRepository,
    private readonly cache: SubscriptionCache,
    private readonly lanes: LaneScheduler,
    private readonly limiter: RateLimiter,
    private readonly config: Config,
  ) {}

  /**
   * A worker sends the challenge soon after. A target that is verified, or need not be, is left alone.
   * @throws Problem not_found, rate_limited
   */
  async verify(tenantId: string, id: string): Promise<SubscriptionResponse> {
    const found = await this.subscriptions.find(tenantId, id);
    if (!found) throw notFound('subscription', id);
    if (!this.config.requiresVerification || found.verification === 'verified') {
      return SubscriptionResponse.from(found);
    }
    const { allowed, retryAfterSeconds } = await this.limiter.take(`verify:${id}`, CHALLENGES, 1);
    if (!allowed) {
      throw new Problem(
        'rate_limited',
        'A target is asked three times at once and then every 10 seconds at most. Send this again after the time in ' +
          'Retry-After.',
        { retryAfterSeconds },
      );
    }
    await this.subscriptions.update(tenantId, id, unverifiedTarget(true, new Date(systemClock.now())));
    this.cache.forget(tenantId);
    await this.lanes.wake([id]);
    return SubscriptionResponse.from((await this.subscriptions.find(tenantId, id)) ?? found);
  }
}
