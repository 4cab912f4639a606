import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { AttemptReport } from '../../domain/attempt.js';
import type { Subscription } from '../../domain/subscription.js';
import { LOGGER } from '../../observability/logger.js';
import { AuditRepository } from '../../persistence/repositories/audit.repository.js';
import { SubscriptionCache } from '../../persistence/subscription-cache.js';
import type { Lane } from '../lane.js';
import type { LanePolicy } from './lane-policy.js';

/** A subscriber that answers 410 Gone wants no more: its subscription is switched off. What is open in it waits. */
@Injectable()
export class GonePolicy implements LanePolicy {
  constructor(
    private readonly subscriptions: SubscriptionCache,
    private readonly audit: AuditRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onResult(_: Lane, subscription: Subscription | undefined, { outcome }: AttemptReport): Promise<void> {
    if (outcome !== 'gone' || !subscription) return;
    if (!(await this.subscriptions.disable(subscription, 'gone'))) return;
    const { id, tenantId, targetUrl } = subscription;
    const { origin } = new URL(targetUrl);
    const about = { tenant_id: tenantId, subscription_id: id };
    this.logger.warn({ ...about, origin }, 'subscription.disabled');
    // It is done, and the attempt recorded: a missing entry is no reason to fail now.
    await this.audit
      .insertDone('subscription.disable', { tenantId, objectId: id })
      .catch((error: unknown) => this.logger.error({ err: error, ...about }, 'audit.write_failed'));
  }
}
