import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import { notFound } from '../domain/errors.js';
import { SubscriptionRepository } from '../persistence/repositories/subscription.repository.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { unverifiedTarget } from './subscription-columns.js';
import { SubscriptionResponse } from './subscription-response.dto.js';

/** Has targets asked again whether they want what is sent there. */
@Injectable()
export class VerificationService {
  constructor(
    private readonly subscriptions: SubscriptionRepository,
    private readonly cache: SubscriptionCache,
    private readonly lanes: LaneScheduler,
    private readonly config: Config,
  ) {}

  /**
   * A worker sends the challenge, as soon as the limit of challenges to its destination lets it (DestinationLimits). A
   * target that is verified, or need not be, is left alone.
   * @throws Problem not_found
   */
  async verify(tenantId: string, id: string): Promise<SubscriptionResponse> {
    const found = await this.subscriptions.find(tenantId, id);
    if (!found) throw notFound('subscription', id);
    if (!this.config.requiresVerification || found.verification === 'verified') {
      return SubscriptionResponse.from(found);
    }
    await this.subscriptions.update(tenantId, id, unverifiedTarget(true, new Date(systemClock.now())));
    this.cache.forget(tenantId);
    await this.lanes.wake([id]);
    return SubscriptionResponse.from((await this.subscriptions.find(tenantId, id)) ?? found);
  }
}
