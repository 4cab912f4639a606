import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import type { Subscription } from '../../domain/subscription.js';
import { LOGGER } from '../../observability/logger.js';
import { SubscriptionCache } from '../../persistence/subscription-cache.js';
import { Loaded, PayloadLoader } from '../payload-loader.js';
import type { Claim, Orphaned, Prepared, Released, Unreadable } from './stages.js';

/** Fetches what the request is made of: the payload, and the subscription as it is now. */
@Injectable()
export class PrepareStep {
  constructor(
    private readonly payloads: PayloadLoader,
    private readonly subscriptions: SubscriptionCache,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async run(
    delivery: ClaimedDelivery,
    { subscription, latency }: Claim,
  ): Promise<Prepared | Orphaned | Released | Unreadable> {
    let loaded: Loaded | null;
    try {
      loaded = await this.payloads.load(delivery, latency);
    } catch (error) {
      this.logger.warn({ err: error, delivery_id: delivery.id }, 'payload.unread');
      return { stage: 'unreadable' };
    }
    if (!loaded) return { stage: 'released', hold: null };
    const { release } = loaded;
    const current = subscription && (await this.reread(subscription));
    if (!current) return { stage: 'orphaned', release };
    return { stage: 'prepared', delivery: loaded.delivery, subscription: current, release };
  }

  /** It may have been switched off, changed or deleted since the claim. Without an answer, what was known holds. */
  private reread(subscription: Subscription): Promise<Subscription | undefined> {
    return this.subscriptions.find(subscription.tenantId, subscription.id).catch(() => subscription);
  }
}
