import { EventTypeIndex } from './event-type.js';
import type { Subscription } from './subscription.js';

export const NO_DELIVERY_REASONS = ['no_subscription', 'event_type', 'inactive'] as const;

/** Why no subscription gets an event, and how many do not for which reason. */
export interface NoDeliveries {
  reason: (typeof NO_DELIVERY_REASONS)[number];
  /** How many want it and are not active. */
  inactive: number;
  /** How many do not want its type. */
  event_type: number;
}

/** All subscriptions of one tenant: which of them an event is for. */
export class TenantSubscriptions {
  private readonly byId = new Map<string, Subscription>();
  private readonly active = new EventTypeIndex<Subscription>();
  private readonly inactive = new EventTypeIndex<Subscription>();

  add(subscription: Subscription, eventTypes: string[]): void {
    this.byId.set(subscription.id, subscription);
    (subscription.isActive ? this.active : this.inactive).add(subscription, eventTypes);
  }

  get(id: string): Subscription | undefined {
    return this.byId.get(id);
  }

  /** The active ones that want this event type. */
  matching(eventType: string): Subscription[] {
    return this.active.matching(eventType);
  }

  /** Why none gets an event of this type, where {@link matching} gives none. */
  whyNone(eventType: string): NoDeliveries {
    if (this.byId.size === 0) return { reason: 'no_subscription', inactive: 0, event_type: 0 };
    const inactive = this.inactive.matching(eventType).length;
    const reason = inactive > 0 ? 'inactive' : 'event_type';
    return { reason, inactive, event_type: this.byId.size - inactive };
  }
}
