import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, LessThan, Repository } from 'typeorm';
import { QueryDeepPartialEntity } from 'typeorm/query-builder/QueryPartialEntity.js';
import { Config } from '../../config/config.js';
import type { SealedSecret } from '../../domain/encryption.js';
import { Database } from '../database.js';
import { SubscriptionEntity, UnsealedSubscription } from '../entities/subscription.entity.js';
import { Page, PageRequest, toPage } from '../page.js';
import { RowSecrets } from '../row-secrets.js';
import { rotateSecret } from '../secret-rotation.js';

/** What a tenant has beside a subscription. */
export interface OtherSubscriptions {
  subscriptions: number;
  /** Of them, those to its host; none where it is there already. */
  sameHost: number;
  /** Different event types with a `*` in them. */
  patterns: number;
}

/** Refuses, by throwing, what would be too many. Others of the tenant wait until it is stored, so that each counts. */
export type Permit = (others: OtherSubscriptions) => void;

export interface SubscriptionFilter extends PageRequest {
  /** Null: active or not. */
  isActive: boolean | null;
}

/** Few enough for a lock on that many rows to delay no other statement. */
const EXPEDITE_BATCH = 1_000;

/**
 * One batch of a lane's waiting deliveries made due. Uses delivery_due. Rows that another statement has locked are
 * left out rather than waited for, since a worker's batch may hold its locks in another order.
 */
const EXPEDITE = {
  name: 'expedite-lane',
  text: `
    update delivery set next_attempt_at = now()
    where tenant_id = $1 and id in (
      select id from delivery where tenant_id = $1 and subscription_id = $2 and next_attempt_at > now()
      order by next_attempt_at limit ${EXPEDITE_BATCH}
      for update skip locked)
    returning id`,
};

/** What matching and delivering need. */
const SERVED = {
  id: true,
  tenantId: true,
  targetUrl: true,
  eventTypes: true,
  isActive: true,
  secret: true,
  previousSecret: true,
  previousSecretExpiresAt: true,
  olderSecrets: true,
  headers: true,
  retryPolicy: true,
  timeoutMs: true,
  rateLimit: true,
  maxConcurrency: true,
  verification: true,
} as const;
export type ServedSubscription = Pick<SubscriptionEntity, keyof typeof SERVED>;

/** Secrets are stored encrypted: plain text goes in, and comes out of {@link reveal} and {@link secretsInUse} alone. */
@Injectable()
export class SubscriptionRepository {
  private readonly secrets: RowSecrets;

  constructor(
    @InjectRepository(SubscriptionEntity) private readonly subscriptions: Repository<SubscriptionEntity>,
    private readonly database: Database,
    config: Config,
  ) {
    this.secrets = new RowSecrets('subscription', config);
  }

  /**
   * @param permit throws where the tenant has too many others
   * @returns it as it was stored
   */
  async insert(subscription: UnsealedSubscription, permit: Permit): Promise<SubscriptionEntity> {
    const entity = Object.assign(new SubscriptionEntity(), this.secrets.seal(subscription, subscription));
    await this.subscriptions.manager.transaction(async (manager) => {
      permit(await countOthers(manager, entity));
      await manager.insert(SubscriptionEntity, entity as QueryDeepPartialEntity<SubscriptionEntity>);
    });
    return entity;
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

  /** Of a tenant, without what only people look at. Uses subscription_by_tenant. */
  all(tenantId: string): Promise<ServedSubscription[]> {
    return this.subscriptions.find({ where: { tenantId }, select: SERVED });
  }

  /**
   * Writes the given columns and no other.
   * @param targetUrl where given, only while it is the present one
   * @param permit where given, throws where the tenant has too many others
   * @returns whether there was such a subscription
   */
  async update(
    tenantId: string,
    id: string,
    changes: Partial<UnsealedSubscription>,
    { targetUrl, permit }: { targetUrl?: string; permit?: Permit | undefined } = {},
  ): Promise<boolean> {
    const which = { tenantId, id, ...(targetUrl !== undefined && { targetUrl }) };
    const columns = {
      ...this.secrets.seal(changes, { tenantId, id }),
      updatedAt: new Date(),
    } as QueryDeepPartialEntity<SubscriptionEntity>;
    if (!permit) return (await this.subscriptions.update(which, columns)).affected === 1;
    return this.subscriptions.manager.transaction(async (manager) => {
      permit(await countOthers(manager, { tenantId, id, targetHost: changes.targetHost ?? null }));
      return (await manager.update(SubscriptionEntity, which, columns)).affected === 1;
    });
  }

  /**
   * Puts a new secret in the place of the present one, which stays valid beside it until `previousUntil`.
   * @returns false, with nothing done, when there is no such subscription, or too many of its secrets are valid
   */
  rotateSecret(
    tenantId: string,
    id: string,
    secret: string,
    overlap: { now: Date; previousUntil: Date },
  ): Promise<boolean> {
    const sealed = this.secrets.encrypt(secret, { tenantId, id });
    return rotateSecret(this.database, 'subscription', { tenantId, id, secret: sealed, ...overlap });
  }

  /**
   * A stored secret of a subscription, its present or its previous one, in plain text.
   * @throws UndecryptableSecret
   */
  reveal(secret: SealedSecret, row: Pick<SubscriptionEntity, 'tenantId' | 'id'>): string {
    return this.secrets.reveal(secret, row);
  }

  /** See {@link RowSecrets.inUse}. */
  secretsInUse(row: ServedSubscription): (nowMs: number) => string[] {
    return this.secrets.inUse(row);
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

  /**
   * What came of a challenge, unless it was settled, or the target changed, meanwhile.
   * @param reason why the target is not verified; null when it is
   */
  async concludeVerification(
    { tenantId, id, targetUrl }: Pick<SubscriptionEntity, 'tenantId' | 'id' | 'targetUrl'>,
    reason: string | null,
  ): Promise<void> {
    await this.subscriptions.update(
      { tenantId, id, targetUrl, verification: 'pending' },
      {
        verification: reason === null ? 'verified' : 'failed',
        verificationReason: reason,
        verificationAt: new Date(),
      },
    );
  }

  async tenantOf(id: string): Promise<string | undefined> {
    const found = await this.subscriptions.findOne({
      where: { id },
      select: { tenantId: true },
      comment: 'all tenants: the engine asks whose a lane is',
    });
    return found?.tenantId;
  }

  /**
   * Makes waiting deliveries of a lane due now, a bounded number at a time.
   * @returns whether there were any; call again until there are none
   */
  async expedite(tenantId: string, subscriptionId: string): Promise<boolean> {
    const expedited = await this.database.run(EXPEDITE, [tenantId, subscriptionId]);
    return expedited.length > 0;
  }
}

/** Counts while the tenant's row is locked, until the transaction ends. Uses subscription_by_tenant. */
async function countOthers(
  manager: EntityManager,
  { tenantId, id, targetHost }: Pick<SubscriptionEntity, 'tenantId' | 'id' | 'targetHost'>,
): Promise<OtherSubscriptions> {
  await manager.query('select 1 from tenant where id = $1 for no key update', [tenantId]);
  const [counts] = await manager.query<[OtherSubscriptions]>(
    `select count(distinct s.id)::int as subscriptions,
            count(distinct s.id) filter (where s.target_host = $3::text and not exists (
              select 1 from subscription present
              where present.tenant_id = $1 and present.id = $2::uuid and present.target_host = $3::text))::int
              as "sameHost",
            count(distinct t.pattern) filter (where t.pattern like '%*%')::int as patterns
     from subscription s left join lateral unnest(s.event_types) as t(pattern) on true
     where s.tenant_id = $1 and s.id <> $2::uuid`,
    [tenantId, id, targetHost],
  );
  return counts;
}
