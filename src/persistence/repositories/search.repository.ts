import { Inject, Injectable } from '@nestjs/common';
import { type Connection, Database } from '../database.js';
import { walkDeliveries } from '../search/delivery-walk.js';
import type { DeliveryFilter } from '../search/delivery-filter.js';
import { ALL_IDS, type IdRange, successor } from '../search/id-range.js';
import type { Direction } from '../search/step-request.js';
import type { WalkRequest, WalkResult } from '../search/walk.js';
import { DELIVERY_COLUMNS, type DeliveryRow } from './delivery.repository.js';

/** A place between two ids, and the way from there. */
export interface Cut {
  direction: Direction;
  /** The least id on the side of the newer ones. */
  id: string;
}

export interface SearchRequest {
  limit: number;
  /** Null: from the newest on. */
  cut: Cut | null;
  /** See {@link WalkRequest}. */
  counts?: WalkRequest['counts'];
  stepsMs: WalkRequest['stepsMs'];
  budgetMs: WalkRequest['budgetMs'];
}

export interface FoundDelivery extends DeliveryRow {
  sender_event_id: string | null;
  idempotency_key: string | null;
  source_id: string | null;
  content_type: string | null;
  /** Null when the event is gone. */
  received_at: Date | null;
}

export interface SearchPage extends Omit<WalkResult, 'ids'> {
  /** Newest first. */
  data: FoundDelivery[];
  /** Where older ones, and newer ones, may go on; null where there are none. */
  older: Cut | null;
  newer: Cut | null;
}

/** Finds deliveries by whatever is known of them. See docs/search.md. */
@Injectable()
export class SearchRepository {
  constructor(@Inject(Database) private readonly database: Connection) {}

  /** Takes no longer than its budget, however little fits: then the page is what was found by then. */
  async search(tenantId: string, filter: DeliveryFilter, request: SearchRequest): Promise<SearchPage> {
    const { cut } = request;
    const found = await walkDeliveries(this.database, tenantId, filter, {
      ...request,
      direction: cut?.direction ?? 'older',
      range: rangeFrom(cut),
    });
    const data = found.ids.length === 0 ? [] : await this.load(tenantId, found.ids);
    return { ...found, ...neighbours(found, cut), data };
  }

  /** Newest first. Uses delivery_pkey and event_pkey. */
  private load(tenantId: string, ids: string[]): Promise<FoundDelivery[]> {
    return this.database.run<FoundDelivery>(
      `select ${DELIVERY_COLUMNS}, e.event_id as sender_event_id, e.idempotency_key, e.source_id, e.content_type,
              e.received_at
       from delivery d left join lateral (
         select * from event e where e.id = d.event_id and (e.tenant_id = $1) is true limit 1
       ) e on true
       where d.id = any ($2::uuid[]) and (d.tenant_id = $1) is true order by d.id desc
       /* all tenants: of the ids only what is this one's */`,
      [tenantId, ids],
    );
  }
}

function rangeFrom(cut: Cut | null): IdRange {
  if (cut === null) return ALL_IDS;
  return cut.direction === 'older' ? { ...ALL_IDS, high: cut.id } : { ...ALL_IDS, low: cut.id };
}

/** Where the pages on both sides begin: the one that the walk came from is there, unless it began at the newest. */
function neighbours({ ids, reached }: WalkResult, cut: Cut | null): Pick<SearchPage, 'older' | 'newer'> {
  const onwards = (direction: Direction) => (reached === null ? null : { direction, id: reached });
  const first = ids[0];
  if (cut?.direction === 'newer') {
    return { older: { direction: 'older', id: first ?? cut.id }, newer: onwards('newer') };
  }
  const id = first === undefined ? cut?.id : successor(first);
  return {
    older: onwards('older'),
    newer: cut === null || id === undefined ? null : { direction: 'newer', id },
  };
}
