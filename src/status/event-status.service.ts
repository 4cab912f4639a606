import { Injectable } from '@nestjs/common';
import { notFound } from '../domain/errors.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { withPayload } from '../http/raw-json.js';
import { Reads, ReadSide } from '../persistence/read-side.js';
import { EventPageResponse, EventQuery, EventResponse, EventStatusResponse } from './status.dto.js';

const DELIVERIES_SHOWN = 100;

/** What became of events. Each method that takes an id throws Problem not_found when it is not the tenant's. */
@Injectable()
export class EventStatusService {
  constructor(private readonly reads: ReadSide) {}

  /** Newest first. */
  async list(tenantId: string, query: EventQuery): Promise<EventPageResponse> {
    const { idempotency_key: key } = query;
    const filter = EventQuery.toFilter(query);
    const request = PageQuery.toRequest(query);
    if (key === undefined) {
      const page = await this.reads.late(({ events }) => events.list(tenantId, request, filter));
      return pageResponse(page, (row) => EventResponse.from(row));
    }
    const page = await this.reads.find(async (reads) => {
      const ids = await holder(reads, tenantId, key);
      const found = await reads.events.list(tenantId, request, { ...filter, ids });
      return ids.length > 0 ? found : undefined;
    });
    return pageResponse(page ?? { data: [], nextCursor: null }, (row) => EventResponse.from(row));
  }

  /** @returns JSON text: an {@link EventDetailResponse} */
  async get(tenantId: string, id: string): Promise<Buffer> {
    const found = await this.reads.find(async ({ events }) => {
      const event = await events.find(tenantId, id);
      const payload = event && (await events.payload(tenantId, id));
      return payload && { event, payload };
    });
    if (!found) throw notFound('event', id);
    return withPayload(EventResponse.from(found.event), found.payload);
  }

  async status(tenantId: string, id: string): Promise<EventStatusResponse> {
    const found = await this.reads.find(async ({ events, deliveries }) => {
      const event = await events.find(tenantId, id);
      if (!event) return undefined;
      const page = { limit: DELIVERIES_SHOWN, cursor: null };
      return { event, ...(await deliveries.list(tenantId, page, { eventIds: [id] })) };
    });
    if (!found) throw notFound('event', id);
    return EventStatusResponse.from(found.event, found.data);
  }
}

/** The event that holds the key, if any does. */
async function holder({ events }: Reads, tenantId: string, key: string): Promise<string[]> {
  const [keyed] = await events.findByKeys([{ tenantId, key }]);
  return keyed ? [keyed.eventId] : [];
}
