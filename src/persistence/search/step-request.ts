import type { DeliveryFilter, EventFilter } from './delivery-filter.js';
import type { Driver } from './drivers.js';
import type { IdRange } from './id-range.js';

/** From the newest to older ones, or from the oldest to newer ones. */
export type Direction = 'older' | 'newer';

export type Interval = 'minute' | 'hour' | 'day';

/** What is looked for: deliveries, or events. */
export type Wanted = { kind: 'delivery'; filter: DeliveryFilter } | { kind: 'event'; filter: EventFilter };

export interface StepRequest {
  tenantId: string;
  wanted: Wanted;
  driver: Driver;
  range: IdRange;
  direction: Direction;
  /** Entries of each arm, at most. */
  size: number;
  /** Ids wanted, at most. */
  limit: number;
  /** Whether to count what fits, and by which interval. */
  countBy: Interval | null;
}
