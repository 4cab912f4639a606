/**
 * The states of a Delivery. `delivered`, `dead` and `cancelled` are terminal; the others are open, which the
 * database knows by `next_attempt_at is not null`.
 */
export const DELIVERY_STATUSES = [
  'pending',
  'delivering',
  'retrying',
  'delivered',
  'dead',
  'cancelled',
] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** Why a Delivery will not be tried again by itself. */
export const DEAD_REASONS = [
  'exhausted',
  'gone',
  'blocked_target',
  'invalid_target',
  'subscription_deleted',
  'expired',
] as const;
export type DeadReason = (typeof DEAD_REASONS)[number];

export type EventStatus = 'received' | 'delivering' | 'delivered' | 'failed';

export interface DeliveryCounts {
  open: number;
  delivered: number;
  dead: number;
  cancelled: number;
}

/** The status of an Event, summed up from its deliveries: one dead letter is enough to call it failed. */
export function eventStatus({ open, delivered, dead, cancelled }: DeliveryCounts): EventStatus {
  if (dead > 0) return 'failed';
  if (open > 0) return 'delivering';
  if (delivered > 0) return 'delivered';
  return cancelled > 0 ? 'failed' : 'received';
}
