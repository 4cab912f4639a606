import { Injectable } from '@nestjs/common';
import { notFound } from '../domain/errors.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { withRawMember } from '../http/raw-json.js';
import { DeliveryRepository } from '../persistence/repositories/delivery.repository.js';
import { EventRepository, StoredEvent } from '../persistence/repositories/event.repository.js';
import { EventPageResponse, EventQuery, EventResponse, EventStatusResponse } from './status.dto.js';

const DELIVERIES_SHOWN = 100;

/** What became of events. Each method that takes an id throws Problem not_found when it is not the tenant's. */
@Injectable()
export class EventStatusService {
  constructor(
    private readonly events: EventRepository,
    private readonly deliveries: DeliveryRepository,
  ) {}

  /** Newest first. */
  async list(tenantId: string, query: EventQuery): Promise<EventPageResponse> {
    const ids =
      query.idempotency_key === undefined ? undefined : await this.holder(tenantId, query.idempotency_key);
    const filter = { eventType: query.event_type, ids };
    const page = await this.events.list(tenantId, PageQuery.toRequest(query), filter);
    return pageResponse(page, (row) => EventResponse.from(row));
  }

  /** @returns JSON text: an {@link EventDetailResponse} */
  async get(tenantId: string, id: string): Promise<Buffer> {
    const [event, payload] = await Promise.all([this.find(tenantId, id), this.events.payload(tenantId, id)]);
    if (!payload) throw notFound('event', id);
    return withRawMember(EventResponse.from(event), 'payload', payload);
  }

  async status(tenantId: string, id: string): Promise<EventStatusResponse> {
    const event = await this.find(tenantId, id);
    const page = { limit: DELIVERIES_SHOWN, cursor: null };
    const { data } = await this.deliveries.list(tenantId, page, { eventId: id });
    return EventStatusResponse.from(event, data);
  }

  private async find(tenantId: string, id: string): Promise<StoredEvent> {
    const event = await this.events.find(tenantId, id);
    if (!event) throw notFound('event', id);
    return event;
  }

  /** The event that holds the key, if any does. */
  private async holder(tenantId: string, key: string): Promise<string[]> {
    const [keyed] = await this.events.findByKeys([{ tenantId, key }]);
    return keyed ? [keyed.eventId] : [];
  }
}
