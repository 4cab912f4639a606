import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, Repository } from 'typeorm';
import { QueryDeepPartialEntity } from 'typeorm/query-builder/QueryPartialEntity.js';
import { Database } from '../database.js';
import { SubscriptionEntity } from '../entities/subscription.entity.js';
import { Page, PageRequest, toPage } from '../page.js';

export interface SubscriptionFilter extends PageRequest {
  /** Null: active or not. */
  isActive: boolean | null;
}

/** Short enough for a lock on that many rows to stand in nobody's way. */
const EXPEDITE_BATCH = 1_000;

/**
 * One batch of a lane's waiting deliveries made due. Uses delivery_due. Rows that another statement has locked are
 * left out rather than waited for, since a worker's batch may hold its locks in another order.
 */
const EXPEDITE = {
  name: 'expedite-lane',
  text: `
    update delivery set next_attempt_at = now()
    where id in (
      select id from delivery where subscription_id = $1 and next_attempt_at > now()
      order by next_attempt_at limit ${EXPEDITE_BATCH}
      for update skip locked)
    returning id`,
};

@Injectable()
export class SubscriptionRepository {
  constructor(
    @InjectRepository(SubscriptionEntity) private readonly subscriptions: Repository<SubscriptionEntity>,
    private readonly database: Database,
  ) {}

  async insert(subscription: SubscriptionEntity): Promise<void> {
    await this.subscriptions.insert(subscription as QueryDeepPartialEntity<SubscriptionEntity>);
  }

  find(tenantId: string, id: string): Promise<SubscriptionEntity | null> {
    return this.subscriptions.findOneBy({ tenantId, id });
  }

  /** A tenant's subscriptions, newest first. Uses subscription_by_tenant. */
  async list(
    tenantId: string,
    { limit, cursor, isActive }: SubscriptionFilter,
  ): Promise<Page<SubscriptionEntity>> {
    const rows = await this.subscriptions.find({
      where: {
        tenantId,
        ...(cursor !== null && { id: LessThan(cursor) }),
        ...(isActive !== null && { isActive }),
      },
      order: { id: 'DESC' },
      take: limit + 1,
    });
    return toPage(rows, limit);
  }

  all(tenantId: string): Promise<SubscriptionEntity[]> {
    return this.subscriptions.findBy({ tenantId });
  }

  /** Writes the given columns and no other. @returns whether there was such a subscription */
  async update(tenantId: string, id: string, changes: Partial<SubscriptionEntity>): Promise<boolean> {
    const { affected } = await this.subscriptions.update({ tenantId, id }, {
      ...changes,
      updatedAt: new Date(),
    } as QueryDeepPartialEntity<SubscriptionEntity>);
    return affected === 1;
  }

  /**
   * Puts a new secret in the place of the present one, which stays beside it until `previousUntil`.
   * @returns whether there was such a subscription
   */
  async rotateSecret(tenantId: string, id: string, secret: string, previousUntil: Date): Promise<boolean> {
    const { affected } = await this.subscriptions.update(
      { tenantId, id },
      {
        previousSecret: () => 'secret',
        previousSecretExpiresAt: previousUntil,
        secret,
        updatedAt: new Date(),
      },
    );
    return affected === 1;
  }

  /** @returns whether there was such a subscription */
  async delete(tenantId: string, id: string): Promise<boolean> {
    const { affected } = await this.subscriptions.delete({ tenantId, id });
    return affected === 1;
  }

  /** Switches it off on the subscriber's word. @returns whether it was on */
  async disable(tenantId: string, id: string, reason: string): Promise<boolean> {
    const { affected } = await this.subscriptions.update(
      { tenantId, id, isActive: true },
      { isActive: false, disabledReason: reason, updatedAt: new Date() },
    );
    return affected === 1;
  }

  async tenantOf(id: string): Promise<string | undefined> {
    const found = await this.subscriptions.findOne({ where: { id }, select: { tenantId: true } });
    return found?.tenantId;
  }

  /**
   * Makes waiting deliveries of a lane due now, a bounded number at a time.
   * @returns whether there were any; call again until there are none
   */
  async expedite(subscriptionId: string): Promise<boolean> {
    const expedited = await this.database.run(EXPEDITE, [subscriptionId]);
    return expedited.length > 0;
  }
}
