import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { type BoundedCache, boundedCache } from '../domain/bounded-cache.js';
import { resolveSubscription, type Subscription } from '../domain/subscription.js';
import { type NoDeliveries, TenantSubscriptions } from '../domain/tenant-subscriptions.js';
import { ChangeFeed } from './change-feed.js';
import { SubscriptionRepository } from './repositories/subscription.repository.js';
import { TenantRepository } from './repositories/tenant.repository.js';

/** Entries are dropped when their tenant changes, and after this time in any case. */
const MAX_AGE_MS = 10 * 60_000;
/** Of one tenant. */
const MAX_REMEMBERED_TYPES = 10_000;
const MAX_TENANTS = 10_000;
const MAX_LANES = 1_000_000;

interface CachedTenant {
  subscriptions: TenantSubscriptions;
  /** What has been asked of them before, by event type. */
  matching: BoundedCache<Subscription[]>;
  whyNone: BoundedCache<NoDeliveries>;
}

/** All subscriptions of the tenants in use, by tenant and event type, kept right by {@link ChangeFeed}. */
@Injectable()
export class SubscriptionCache {
  private readonly tenants: BoundedCache<Promise<CachedTenant>> = boundedCache(MAX_TENANTS, {
    maxAgeMs: MAX_AGE_MS,
  });
  private readonly tenantOf: BoundedCache<string> = boundedCache(MAX_LANES);
  private readonly runningLoads = new Map<string, Promise<CachedTenant>>();
  /** They have not begun, so they will see every change that there was. */
  private readonly waitingLoads = new Map<string, Promise<CachedTenant>>();

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
    const { subscriptions, matching } = await this.tenant(tenantId);
    return remembered(matching, eventType, () => subscriptions.matching(eventType));
  }

  /** Why none of a tenant's subscriptions gets an event of this type; asked when {@link matching} has found none. */
  async whyNone(tenantId: string, eventType: string): Promise<NoDeliveries> {
    const { subscriptions, whyNone } = await this.tenant(tenantId);
    return remembered(whyNone, eventType, () => subscriptions.whyNone(eventType));
  }

  /** Active or not; undefined when the tenant has no such subscription. */
  async find(tenantId: string, id: string): Promise<Subscription | undefined> {
    const cached = (await this.tenant(tenantId)).subscriptions.get(id);
    // It may be newer than what is cached here: only the database can say that there is none.
    if (cached || (await this.subscriptions.tenantOf(id)) !== tenantId) return cached;
    this.forget(tenantId);
    return (await this.tenant(tenantId)).subscriptions.get(id);
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
      this.tenantOf.set(id, tenantId);
    }
    return this.find(tenantId, id);
  }

  /** Called at once by code that changed a subscription in this process; other processes hear through the feed. */
  forget(tenantId: string): void {
    this.tenants.delete(tenantId);
  }

  private async tenant(tenantId: string): Promise<CachedTenant> {
    const cached = this.tenants.get(tenantId);
    if (cached) return cached;
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
  private loadInTurn(tenantId: string): Promise<CachedTenant> {
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

  private startLoad(tenantId: string): Promise<CachedTenant> {
    const running = this.load(tenantId).finally(() => this.runningLoads.delete(tenantId));
    this.runningLoads.set(tenantId, running);
    return running;
  }

  private async load(tenantId: string): Promise<CachedTenant> {
    const [entities, tenant] = await Promise.all([
      this.subscriptions.all(tenantId),
      this.tenantRows.find(tenantId),
    ]);
    const isSuspended = tenant?.suspended ?? false;
    const subscriptions = new TenantSubscriptions();
    for (const stored of entities) {
      const secrets = this.subscriptions.secretsInUse(stored);
      subscriptions.add(resolveSubscription(stored, isSuspended, this.config, secrets), stored.eventTypes);
      this.tenantOf.set(stored.id, tenantId);
    }
    return {
      subscriptions,
      matching: boundedCache(MAX_REMEMBERED_TYPES),
      whyNone: boundedCache(MAX_REMEMBERED_TYPES),
    };
  }
}

function remembered<Value extends object>(
  known: BoundedCache<Value>,
  eventType: string,
  find: () => Value,
): Value {
  let value = known.get(eventType);
  if (value === undefined) known.set(eventType, (value = find()));
  return value;
}
