import { Injectable } from '@nestjs/common';
import { invalidRequest } from '../domain/errors.js';
import { uuidTime } from '../domain/uuid-v7.js';
import { DeliveryResponse } from '../http/delivery.dto.js';
import { Reads, ReadSide } from '../persistence/read-side.js';
import type { FoundDelivery, SearchPage } from '../persistence/repositories/search.repository.js';
import type { DeliveryFilter } from '../persistence/search/delivery-filter.js';
import type { Count } from '../persistence/search/step.js';
import { decodeCut, encodeCut } from './search-cursor.js';
import { FoundDeliveryResponse, SearchDto, SearchResponse } from './search.dto.js';

const TYPES_SHOWN = 50;

/** Finds deliveries by what is known of them, and counts what fits. */
@Injectable()
export class SearchService {
  /**
   * What a search may take: times after which it begins no further step, none to count, and a step that runs is cancelled;
   * how many it counts.
   */
  readonly limits = { stepsMs: 800, countBudgetMs: 50, budgetMs: 1_000, counted: 10_000 };

  constructor(private readonly reads: ReadSide) {}

  /** @throws Problem invalid_request for a cursor that no search gave out, and when `to` is not after `from` */
  async search(tenantId: string, query: SearchDto): Promise<SearchResponse> {
    const cut = decodeCut(query.cursor);
    const { stepsMs, budgetMs, countBudgetMs, counted } = this.limits;
    const filter = filterOf(query);
    const page = await this.reads.late(async ({ search, events }) => {
      const eventIds = await eventIdsOf(events, tenantId, query);
      return search.search(
        tenantId,
        { ...filter, eventIds },
        {
          limit: query.limit,
          cut,
          stepsMs,
          budgetMs,
          counts: cut === null ? { by: query.interval, most: counted, budgetMs: countBudgetMs } : undefined,
        },
      );
    });
    return {
      data: page.data.map(foundDelivery),
      next_cursor: page.older && encodeCut(page.older),
      previous_cursor: page.newer && encodeCut(page.newer),
      is_complete: !page.isInterrupted,
      searched_to: timeOf(page.reached),
      aggregations: cut === null ? aggregations(page) : null,
    };
  }
}

/** All of it but what the id and the key of the event say: see {@link eventIdsOf}. */
function filterOf(query: SearchDto): DeliveryFilter {
  const { from, to, status_code: statusCode } = query;
  const [fromMs, toMs] = [from, to].map((time) => (time === undefined ? undefined : Date.parse(time)));
  if (fromMs !== undefined && toMs !== undefined && toMs <= fromMs) {
    throw invalidRequest([{ path: 'to', message: 'must be later than from' }]);
  }
  return {
    statuses: query.status,
    eventTypes: query.event_type,
    subscriptionId: query.subscription_id?.toLowerCase(),
    sourceId: query.source_id?.toLowerCase(),
    fromMs: bounded(fromMs),
    toMs: bounded(toMs),
    statusCodes: statusCode === undefined ? undefined : statusCodes(statusCode),
    error: query.error,
    payload: query.payload?.map(({ path, equals }) => ({ path: path.split('.'), equals })),
  };
}

/** The event that the id and the key name, if they name the same one; undefined when neither was given. */
async function eventIdsOf(
  events: Reads['events'],
  tenantId: string,
  { event_id: id, idempotency_key: key }: SearchDto,
): Promise<string[] | undefined> {
  const ids = id === undefined ? undefined : [id.toLowerCase()];
  if (key === undefined) return ids;
  const [keyed] = await events.findByKeys([{ tenantId, key }]);
  const holders = keyed ? [keyed.eventId] : [];
  return ids ? holders.filter((holder) => ids.includes(holder)) : holders;
}

/** To the times that an id can carry. */
const bounded = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.max(ms, 0);

function statusCodes(code: number | string): { least: number; greatest: number } {
  if (typeof code === 'number') return { least: code, greatest: code };
  const hundreds = Number(code.charAt(0)) * 100;
  return { least: hundreds, greatest: hundreds + 99 };
}

const timeOf = (id: string | null): string | null =>
  id === null ? null : new Date(Math.min(uuidTime(id), 253_402_300_799_999)).toISOString();

function foundDelivery(row: FoundDelivery): FoundDeliveryResponse {
  const { sender_event_id: id, idempotency_key, source_id, content_type, received_at: receivedAt } = row;
  const event = id !== null && receivedAt !== null;
  return {
    ...DeliveryResponse.from(row),
    event: event
      ? {
          event_id: id,
          idempotency_key,
          source_id,
          content_type: content_type ?? 'application/json',
          received_at: receivedAt.toISOString(),
        }
      : null,
  };
}

function aggregations({ counts, uncounted }: SearchPage): NonNullable<SearchResponse['aggregations']> {
  const status = mostFirst(summedUp(counts, 'status'));
  const types = mostFirst(summedUp(counts, 'event_type'));
  const bars = [...summedUp(counts, 'at')].map(([at, count]) => ({ at: Number(at), count }));
  return {
    total: sum(status.map(([, count]) => count)),
    is_exact: uncounted === null,
    counted_since: timeOf(uncounted),
    by_status: Object.fromEntries(status),
    by_event_type: Object.fromEntries(types.slice(0, TYPES_SHOWN)),
    other_event_types: sum(types.slice(TYPES_SHOWN).map(([, count]) => count)),
    histogram: bars
      .sort((a, b) => a.at - b.at)
      .map(({ at, count }) => ({ at: new Date(at).toISOString(), count })),
  };
}

function summedUp(counts: readonly Count[], wanted: Count['what']): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { what, value, count } of counts) {
    if (what === wanted) sums.set(value, (sums.get(value) ?? 0) + count);
  }
  return sums;
}

const mostFirst = (sums: Map<string, number>): [string, number][] =>
  [...sums].sort(([a, some], [b, others]) => others - some || (a < b ? -1 : 1));

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);
