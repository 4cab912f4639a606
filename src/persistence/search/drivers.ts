import type { DeliveryStatus } from '../../domain/delivery-status.js';
import type { DeliveryFilter, EventFilter } from './delivery-filter.js';

/**
 * An index that holds what is looked for in the order of ids, and the words by which Postgres knows it. Each of its arms
 * is one place in it: the columns that all entries there share, before the id.
 */
export interface Driver {
  index: string;
  table: 'delivery' | 'event';
  arms: readonly Arm[];
}

export interface Arm {
  /** Besides the id, in the order of the index. */
  key: readonly { column: string; value: string; type: 'uuid' | 'text' }[];
  /** The condition of a partial index. */
  where?: string;
}

const OPEN: readonly DeliveryStatus[] = ['pending', 'delivering', 'retrying'];

/** More types than this are not walked one beside the other. */
export const MAX_TYPES = 100;

/** Of each group of statuses that is indexed: whose they are, and how the index says so. */
const BY_STATUS: { index: string; statuses: readonly DeliveryStatus[]; where: string }[] = [
  { index: 'delivery_dead', statuses: ['dead'], where: 'd.dead_at is not null' },
  { index: 'delivery_cancelled', statuses: ['cancelled'], where: 'd.cancelled_at is not null' },
  { index: 'delivery_open', statuses: OPEN, where: 'd.completed_at is null' },
];

const FAILED = '(d.last_error is not null or d.last_status_code >= 300)';

const ofTenant = (tenantId: string): Arm['key'][number] => ({
  column: 'tenant_id',
  value: tenantId,
  type: 'uuid',
});

/**
 * The indexes that hold all that fits, the likely shortest first; that of all deliveries, which holds whatever the others
 * do, only where there is no other.
 * @param types the types that the patterns of the filter stand for; null when they are too many
 */
export function deliveryDrivers(
  tenantId: string,
  filter: DeliveryFilter,
  types: readonly string[] | null,
): Driver[] {
  const { statuses, statusCodes, error, sourceId, subscriptionId } = filter;
  const tenant = ofTenant(tenantId);
  const drivers: Driver[] = [];
  const groups = BY_STATUS.filter((group) => statuses?.some((status) => group.statuses.includes(status)));
  if (statuses && !statuses.includes('delivered')) {
    drivers.push({
      index: groups.map(({ index }) => index).join(', '),
      table: 'delivery',
      arms: groups.map(({ where }) => ({ key: [tenant], where })),
    });
  }
  // What ended with a 2xx has no error.
  if (error !== undefined || (statusCodes && statusCodes.least >= 300)) {
    drivers.push({ index: 'delivery_failed', table: 'delivery', arms: [{ key: [tenant], where: FAILED }] });
  }
  if (subscriptionId !== undefined) {
    const key = [{ column: 'subscription_id', value: subscriptionId, type: 'uuid' as const }];
    drivers.push({ index: 'delivery_by_subscription', table: 'delivery', arms: [{ key }] });
  }
  if (filter.eventTypes && types) drivers.push(byType(tenantId, types));
  if (sourceId !== undefined) drivers.push(bySource(sourceId));
  const all: Driver = { index: 'delivery_by_tenant', table: 'delivery', arms: [{ key: [tenant] }] };
  return drivers.length > 0 ? drivers : [all];
}

/** As {@link deliveryDrivers}. */
export function eventDrivers(tenantId: string, { eventType, sourceId }: EventFilter): Driver[] {
  const drivers = [
    ...(eventType === undefined ? [] : [byType(tenantId, [eventType])]),
    ...(sourceId === undefined ? [] : [bySource(sourceId)]),
  ];
  const all: Driver = { index: 'event_by_tenant', table: 'event', arms: [{ key: [ofTenant(tenantId)] }] };
  return drivers.length > 0 ? drivers : [all];
}

const byType = (tenantId: string, types: readonly string[]): Driver => ({
  index: 'event_by_type',
  table: 'event',
  arms: types.map((value) => ({ key: [ofTenant(tenantId), { column: 'event_type', value, type: 'text' }] })),
});

const bySource = (sourceId: string): Driver => ({
  index: 'event_by_source',
  table: 'event',
  arms: [{ key: [{ column: 'source_id', value: sourceId, type: 'uuid' }], where: 'e.source_id is not null' }],
});
