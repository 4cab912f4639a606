import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { EventTypeIndex } from '../domain/event-type.js';
import { LeastRecentlyUsed } from '../domain/least-recently-used.js';
import { RetryPolicy, resolveRetryPolicy } from '../domain/retry-policy.js';
import { ChangeFeed } from './change-feed.js';
import { LaneRules } from './repositories/lane.repository.js';
import { ServedSubscription, SubscriptionRepository } from './repositories/subscription.repository.js';
import { TenantRepository } from './repositories/tenant.repository.js';

/** Entries are dropped when their tenant changes, and after this time in any case. */
const MAX_AGE_MS = 10 * 60_000;
const MAX_REMEMBERED_TYPES = 10_000;
const MAX_TENANTS = 10_000;
const MAX_LANES = 1_000_000;

/** For what comes between a claim and its request. */
const LEASE_MARGIN_MS = 1_000;

/** A subscriber counts arrivals, and they jitter: departures are spaced a twentieth wider than its limit. */
const SPACING_MARGIN = 1.05;

/** A subscription as the hot path wants it: everything resolved once. */
export interface Subscription {
  id: string;
  tenantId: string;
  targetUrl: string;
  isActive: boolean;
  /** It, or its tenant, is switched off, or its target is not verified: its deliveries wait. */
  isHeld: boolean;
  /** Its target has to be asked whether it wants them. */
  awaitsChallenge: boolean;
  headers: Record<string, string>;
  retryPolicy: RetryPolicy;
  timeoutMs: number;
  rules: LaneRules;
  /**
   * The secrets to sign with at this time, the present one first. Decrypted when they are first asked for: most
   * processes only match events and never sign.
   * @throws UndecryptableSecret, the same one each time
   */
  secrets(nowMs: number): string[];
}

export const NO_DELIVERY_REASONS = ['no_subscription', 'event_type', 'inactive'] as const;

/** Why no subscription gets an event, and how many do not for which reason. */
export interface NoDeliveries {
  reason: (typeof NO_DELIVERY_REASONS)[number];
  /** That want it, and are not active. */
  inactive: number;
  /** That do not want its type. */
  event_type: number;
}

interface TenantSubscriptions {
  loadedAt: number;
  byId: Map<string, Subscription>;
  /** Of those that are active. */
  index: EventTypeIndex<Subscription>;
  /** Of the others, by which it is told why an event has no deliveries. */
  inactive: EventTypeIndex<Subscription>;
  /** What has been asked of the two before. */
  matching: LeastRecentlyUsed<string, Subscription[]>;
  whyNone: LeastRecentlyUsed<string, NoDeliveries>;
}

/** All subscriptions of the tenants in use, by tenant and event type, kept right by {@link ChangeFeed}. */
@Injectable()
export class SubscriptionCache {
  private readonly tenants = new Map<string, Promise<TenantSubscriptions>>();
  private readonly tenantOf = new Map<string, string>();
  private readonly runningLoads = new Map<string, Promise<TenantSubscriptions>>();
  /** They have not begun, so they will see every change that there was. */
  private readonly waitingLoads = new Map<string, Promise<TenantSubscriptions>>();

  constructor(
    private readonly subscriptions: SubscriptionRepository,
    private readonly tenantRows: TenantRepository,
    private readonly changes: ChangeFeed,
    private readonly config: Config,
  ) {
    changes.subscribe(
      ({ table, tenantId }) => {
        if (table !== 'source') this.forget(tenantId);
      },
      () => this.tenants.clear(),
    );
  }

  /** The active subscriptions that want this event type. */
  async matching(tenantId: string, eventType: string): Promise<Subscription[]> {
    const { index, matching } = await this.tenant(tenantId);
    return remembered(matching, eventType, () => index.matching(eventType));
  }

  /** Why none of a tenant's subscriptions gets an event of this type; asked when {@link matching} has found none. */
  async whyNone(tenantId: string, eventType: string): Promise<NoDeliveries> {
    const { byId, inactive, whyNone } = await this.tenant(tenantId);
    return remembered(whyNone, eventType, () => {
      if (byId.size === 0) return { reason: 'no_subscription', inactive: 0, event_type: 0 };
      const waiting = inactive.matching(eventType).length;
      const reason = waiting > 0 ? 'inactive' : 'event_type';
      return { reason, inactive: waiting, event_type: byId.size - waiting };
    });
  }

  /** Active or not; undefined when the tenant has no such subscription. */
  async find(tenantId: string, id: string): Promise<Subscription | undefined> {
    const cached = (await this.tenant(tenantId)).byId.get(id);
    // It may be newer than what is cached here: only the database can say that there is none.
    if (cached || (await this.subscriptions.tenantOf(id)) !== tenantId) return cached;
    this.forget(tenantId);
    return (await this.tenant(tenantId)).byId.get(id);
  }

  /** Switches a subscription off on its subscriber's word. @returns whether it was on */
  async disable({ tenantId, id }: Subscription, reason: string): Promise<boolean> {
    const wasOn = await this.subscriptions.disable(tenantId, id, reason);
    this.forget(tenantId);
    return wasOn;
  }

  /** For the engine, which knows lanes by subscription alone. */
  async findLane(id: string): Promise<Subscription | undefined> {
    let tenantId = this.tenantOf.get(id);
    if (tenantId === undefined) {
      tenantId = await this.subscriptions.tenantOf(id);
      if (tenantId === undefined) return undefined;
      if (this.tenantOf.size >= MAX_LANES) this.tenantOf.clear();
      this.tenantOf.set(id, tenantId);
    }
    return this.find(tenantId, id);
  }

  /** Called at once by whoever changed a subscription in this process; other processes hear through the feed. */
  forget(tenantId: string): void {
    this.tenants.delete(tenantId);
  }

  private async tenant(tenantId: string): Promise<TenantSubscriptions> {
    const cached = this.tenants.get(tenantId);
    if (cached && (await cached).loadedAt > Date.now() - MAX_AGE_MS) return cached;
    if (this.tenants.size >= MAX_TENANTS) this.tenants.clear();
    const loading = this.loadInTurn(tenantId);
    // A change that arrives while this loads removes the entry, so what was read before the change is not kept.
    if (this.changes.isListening) {
      this.tenants.set(tenantId, loading);
      loading.catch(() => this.tenants.delete(tenantId));
    }
    return loading;
  }

  /**
   * At most one load of a tenant runs, and one waits, which all who come meanwhile share: however often a tenant
   * changes its thousands of subscriptions, memory holds few copies of them.
   */
  private loadInTurn(tenantId: string): Promise<TenantSubscriptions> {
    const waiting = this.waitingLoads.get(tenantId);
    if (waiting) return waiting;
    const running = this.runningLoads.get(tenantId);
    if (!running) return this.startLoad(tenantId);
    const next = running
      .catch(() => undefined)
      .then(() => {
        this.waitingLoads.delete(tenantId);
        return this.startLoad(tenantId);
      });
    this.waitingLoads.set(tenantId, next);
    return next;
  }

  private startLoad(tenantId: string): Promise<TenantSubscriptions> {
    const running = this.load(tenantId).finally(() => this.runningLoads.delete(tenantId));
    this.runningLoads.set(tenantId, running);
    return running;
  }

  private async load(tenantId: string): Promise<TenantSubscriptions> {
    const loadedAt = Date.now();
    const [entities, tenant] = await Promise.all([
      this.subscriptions.all(tenantId),
      this.tenantRows.find(tenantId),
    ]);
    const isSuspended = tenant?.suspended ?? false;
    const byId = new Map<string, Subscription>();
    const index = new EventTypeIndex<Subscription>();
    const inactive = new EventTypeIndex<Subscription>();
    for (const entity of entities) {
      const subscription = this.resolve(entity, isSuspended);
      byId.set(entity.id, subscription);
      (subscription.isActive ? index : inactive).add(subscription, entity.eventTypes);
      this.tenantOf.set(entity.id, tenantId);
    }
    return {
      loadedAt,
      byId,
      index,
      inactive,
      matching: new LeastRecentlyUsed(MAX_REMEMBERED_TYPES),
      whyNone: new LeastRecentlyUsed(MAX_REMEMBERED_TYPES),
    };
  }

  private resolve(entity: ServedSubscription, isTenantSuspended: boolean): Subscription {
    const { rateLimit, verification } = entity;
    const { requiresVerification } = this.config;
    const isUnverified = requiresVerification && (verification === 'pending' || verification === 'failed');
    return {
      id: entity.id,
      tenantId: entity.tenantId,
      targetUrl: entity.targetUrl,
      isActive: entity.isActive,
      isHeld: !entity.isActive || isTenantSuspended || isUnverified,
      awaitsChallenge: requiresVerification && verification === 'pending' && !isTenantSuspended,
      headers: entity.headers,
      retryPolicy:
        entity.retryPolicy === null ? this.config.retryPolicy : resolveRetryPolicy(entity.retryPolicy),
      // A request must be over before its lease is, or another worker would send it as well.
      timeoutMs: Math.min(
        entity.timeoutMs ?? this.config.deliveryTimeoutMs,
        this.config.leaseSeconds * 1000 - LEASE_MARGIN_MS,
      ),
      rules: {
        spacingMs: rateLimit && (rateLimit.period_seconds * 1000 * SPACING_MARGIN) / rateLimit.limit,
        maxConcurrency: entity.maxConcurrency,
      },
      secrets: this.subscriptions.secretsInUse(entity),
    };
  }
}

function remembered<Value>(
  known: LeastRecentlyUsed<string, Value>,
  eventType: string,
  find: () => Value,
): Value {
  let value = known.get(eventType);
  if (value === undefined) known.set(eventType, (value = find()));
  return value;
}
