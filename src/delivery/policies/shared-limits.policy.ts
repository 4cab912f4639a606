import { Injectable } from '@nestjs/common';
import { Config } from '../../config/config.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import type { Subscription } from '../../domain/subscription.js';
import { LaneRepository } from '../../persistence/repositories/lane.repository.js';
import { SubscriptionCache } from '../../persistence/subscription-cache.js';
import { LaneScheduler } from '../../queue/lane-scheduler.js';
import type { Lane } from '../lane.js';
import type { LanePolicy } from './lane-policy.js';

/** `rate_limit` and `max_concurrency` of a subscription hold over all workers, so PostgreSQL keeps them in the claim. */
@Injectable()
export class SharedLimitsPolicy implements LanePolicy {
  constructor(
    private readonly repository: LaneRepository,
    private readonly subscriptions: SubscriptionCache,
    private readonly scheduler: LaneScheduler,
    private readonly config: Config,
  ) {}

  claim(lane: Lane, count: number, subscription: Subscription): Promise<ClaimedDelivery[]> | null {
    const { spacingMs, maxConcurrency } = subscription.limits;
    if (spacingMs === null && maxConcurrency === null) return null;
    return this.claimWithin(lane, count, subscription);
  }

  private async claimWithin(
    lane: Lane,
    count: number,
    { limits, tenantId }: Subscription,
  ): Promise<ClaimedDelivery[]> {
    const claim = await this.repository.claimPaced(lane.id, count, limits, this.config.leaseSeconds);
    if (claim === null) {
      // Deleted since it was cached: another poll sees that.
      this.subscriptions.forget(tenantId);
      lane.pollAgain = true;
      return [];
    }
    if (claim.nextInMs !== null) void this.scheduler.wake([lane.id], claim.nextInMs);
    return claim.deliveries;
  }

  /** The record of a delivery frees a place, for which another may be waiting. */
  onResult(lane: Lane, subscription: Subscription | undefined): void {
    if (subscription && subscription.limits.maxConcurrency !== null) lane.hasMore = true;
  }
}
