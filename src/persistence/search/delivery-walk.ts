import { EventTypeIndex } from '../../domain/event-type.js';
import { uuidV7Floor } from '../../domain/uuid-v7.js';
import type { Connection } from '../database.js';
import type { DeliveryFilter } from './delivery-filter.js';
import { deliveryDrivers, MAX_TYPES } from './drivers.js';
import { ALL_IDS, type IdRange, idsOfMillisecond, intersection } from './id-range.js';
import { walk, type WalkRequest, type WalkResult } from './walk.js';

/** Finds the tenant's deliveries that fit, by whichever index holds the fewest besides them. */
export async function walkDeliveries(
  connection: Connection,
  tenantId: string,
  filter: DeliveryFilter,
  request: Omit<WalkRequest, 'tenantId' | 'wanted' | 'drivers'>,
): Promise<WalkResult> {
  const range = rangeOf(filter).reduce(intersection, request.range);
  const startedAt = performance.now();
  const types = filter.eventTypes
    ? await typesLike(connection, tenantId, filter.eventTypes, request.budgetMs / 4)
    : null;
  const drivers = deliveryDrivers(tenantId, filter, types);
  const budgetMs = request.budgetMs - (performance.now() - startedAt);
  return walk(connection, {
    ...request,
    budgetMs,
    range,
    tenantId,
    wanted: { kind: 'delivery', filter },
    drivers,
  });
}

/** A delivery's id holds the time at which its event was received; that of an event its deliveries share. */
function rangeOf({ fromMs, toMs, eventIds }: DeliveryFilter): IdRange[] {
  const ranges: IdRange[] = [];
  if (fromMs !== undefined) ranges.push({ ...ALL_IDS, low: uuidV7Floor(fromMs) });
  if (toMs !== undefined) ranges.push({ ...ALL_IDS, high: uuidV7Floor(toMs) });
  if (eventIds) {
    const moments = eventIds.map(idsOfMillisecond);
    ranges.push({
      low: moments.map(({ low }) => low).sort()[0] ?? ALL_IDS.high,
      high:
        moments
          .map(({ high }) => high)
          .sort()
          .at(-1) ?? ALL_IDS.low,
    });
  }
  return ranges;
}

/** A tenant with more types than this is not asked for all of them. */
const MAX_KNOWN_TYPES = 1_000;

/** Walks event_by_type from type to type, so that the cost follows the number of types and not of events. */
const TYPES_OF_TENANT = `
  with recursive known as (
    (select e.event_type from event e
     where e.tenant_id = $1 order by e.event_type limit 1)
    union all
    select (select e.event_type from event e
            where e.tenant_id = $1 and e.event_type > known.event_type order by e.event_type limit 1)
    from known where known.event_type is not null
  )
  select event_type from known where event_type is not null limit $2`;

/**
 * The types that the tenant's events have and one of the patterns matches; null when they are too many to be listed, or
 * that takes more than `limitMs`.
 */
async function typesLike(
  connection: Connection,
  tenantId: string,
  patterns: readonly string[],
  limitMs: number,
): Promise<string[] | null> {
  const types = new Set(patterns.filter((pattern) => !pattern.includes('*')));
  if (types.size < patterns.length) {
    const known = await connection.runWithin<{ event_type: string }>(limitMs, TYPES_OF_TENANT, [
      tenantId,
      MAX_KNOWN_TYPES + 1,
    ]);
    if (!known || known.length > MAX_KNOWN_TYPES) return null;
    const wanted = new EventTypeIndex<true>();
    wanted.add(true, patterns);
    for (const { event_type: type } of known) if (wanted.matching(type).length > 0) types.add(type);
  }
  return types.size <= MAX_TYPES ? [...types] : null;
}
