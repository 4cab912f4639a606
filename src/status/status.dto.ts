import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsUUID, Matches, ValidateBy } from 'class-validator';
import {
  DELIVERY_STATUSES,
  type DeliveryStatus,
  type EventStatus,
  eventStatus,
} from '../domain/delivery-status.js';
import { isEventType } from '../domain/event-type.js';
import { ANY_JSON, PAYLOAD_BASE64 } from '../http/any-json.js';
import { DeliveryResponse } from '../http/delivery.dto.js';
import { MayBeLeftOut } from '../http/may-be-left-out.js';
import { PageQuery, PageResponse } from '../http/paging.dto.js';
import { OneOf } from '../http/one-of.js';
import { DeliveryRow } from '../persistence/repositories/delivery.repository.js';
import { StoredEvent } from '../persistence/repositories/event.repository.js';
import type { DeliveryFilter, EventFilter } from '../persistence/search/delivery-filter.js';

const EVENT_STATUSES = ['received', 'delivering', 'delivered', 'failed'] as const satisfies EventStatus[];

const IsEventType = () =>
  ValidateBy({
    name: 'isEventType',
    validator: { validate: isEventType, defaultMessage: () => 'must be one event type, without *' },
  });

export class EventQuery extends PageQuery {
  @ApiPropertyOptional({ example: 'order.paid' })
  @MayBeLeftOut()
  @IsEventType()
  event_type?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The source that took it in.',
    example: '0198c0d0-22bb-7c3d-8e4f-a0b1c2d3e4f5',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a source' })
  source_id?: string;

  @ApiPropertyOptional({
    description: 'Finds the one event that holds this key: at most one row.',
    example: 'order-42-paid',
  })
  @MayBeLeftOut()
  @Matches(/^[^\p{Cc}\p{Cs}]{1,256}$/u, { message: 'must be 1 to 256 characters without control characters' })
  idempotency_key?: string;

  static toFilter({ event_type, source_id }: EventQuery): EventFilter {
    return { eventType: event_type, sourceId: source_id?.toLowerCase() };
  }
}

const listOf = <T>(value: T | undefined): T[] | undefined => (value === undefined ? undefined : [value]);

export class DeliveryQuery extends PageQuery {
  @ApiPropertyOptional({ format: 'uuid', example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5' })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a subscription' })
  subscription_id?: string;

  @ApiPropertyOptional({ example: 'order.paid' })
  @MayBeLeftOut()
  @IsEventType()
  event_type?: string;

  @ApiPropertyOptional({ enum: DELIVERY_STATUSES, enumName: 'DeliveryStatus', example: 'retrying' })
  @MayBeLeftOut()
  @OneOf(DELIVERY_STATUSES)
  status?: DeliveryStatus;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The `id` of an event, as Posthorn gave it.',
    example: '0198c0de-7a5e-7a11-8c2d-1e2f3a4b5c6d',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id that Posthorn gave an event' })
  event_id?: string;

  static toFilter(query: DeliveryQuery): DeliveryFilter {
    return {
      subscriptionId: query.subscription_id,
      eventTypes: listOf(query.event_type),
      statuses: listOf(query.status),
      eventIds: listOf(query.event_id?.toLowerCase()),
    };
  }
}

export class EventResponse {
  @ApiProperty({
    format: 'uuid',
    description: 'Subscribers see it as `webhook-id`.',
    example: '0198c0de-7a5e-7a11-8c2d-1e2f3a4b5c6d',
  })
  id!: string;

  @ApiProperty({ description: "The sender's id of it; `id` if there was none.", example: 'evt_123' })
  event_id!: string;

  @ApiProperty({ example: 'order.paid' })
  event_type!: string;

  @ApiProperty({ enum: EVENT_STATUSES, enumName: 'EventStatus', example: 'delivered' })
  status!: EventStatus;

  @ApiProperty({ type: String, nullable: true, example: 'order-42-paid' })
  idempotency_key!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'The request that brought it.',
    example: 'req-8271',
  })
  request_id!: string | null;

  @ApiProperty({
    description: 'Of the payload, as subscribers get it; what is handed in with an API key is JSON.',
    example: 'application/json',
  })
  content_type!: string;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'The source that received it; null if it was handed in with an API key.',
    example: null,
  })
  source_id!: string | null;

  @ApiProperty({ type: Number, description: 'How many subscriptions it is for.', example: 2 })
  deliveries!: number;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  received_at!: string;

  static from(event: StoredEvent): EventResponse {
    return {
      id: event.id,
      event_id: event.event_id,
      event_type: event.event_type,
      status: eventStatus(event.counts),
      idempotency_key: event.idempotency_key,
      request_id: event.request_id,
      content_type: event.content_type ?? 'application/json',
      source_id: event.source_id,
      deliveries: event.delivery_count,
      received_at: event.received_at.toISOString(),
    };
  }
}

export class EventDetailResponse extends EventResponse {
  @ApiPropertyOptional({
    ...ANY_JSON,
    description: 'Byte for byte as it was handed in; any JSON value.',
    example: { order: 42, amount: 12.5 },
  })
  payload?: unknown;

  @ApiPropertyOptional({ ...PAYLOAD_BASE64 })
  payload_base64?: string;
}

export class EventPageResponse extends PageResponse {
  @ApiProperty({ type: [EventResponse] })
  data!: EventResponse[];
}

class EventDeliveriesResponse {
  @ApiProperty({ type: Number, example: 2 })
  total!: number;

  @ApiProperty({ type: Number, description: 'Pending, delivering or retrying.', example: 0 })
  open!: number;

  @ApiProperty({ type: Number, example: 2 })
  delivered!: number;

  @ApiProperty({ type: Number, example: 0 })
  dead!: number;

  @ApiProperty({ type: Number, example: 0 })
  cancelled!: number;

  @ApiProperty({
    type: [DeliveryResponse],
    description: 'The first 100; `GET /deliveries?event_id=` has all of them.',
  })
  data!: DeliveryResponse[];
}

export class EventStatusResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7a11-8c2d-1e2f3a4b5c6d' })
  id!: string;

  @ApiProperty({ example: 'evt_123' })
  event_id!: string;

  @ApiProperty({ example: 'order.paid' })
  event_type!: string;

  @ApiProperty({
    enum: EVENT_STATUSES,
    enumName: 'EventStatus',
    description:
      '`received`: no subscription wants it. `failed`: at least one delivery is dead, or all were cancelled.',
    example: 'delivered',
  })
  status!: EventStatus;

  @ApiProperty({ type: EventDeliveriesResponse })
  deliveries!: EventDeliveriesResponse;

  static from(event: StoredEvent, deliveries: DeliveryRow[]): EventStatusResponse {
    const { open, delivered, dead, cancelled } = event.counts;
    return {
      id: event.id,
      event_id: event.event_id,
      event_type: event.event_type,
      status: eventStatus(event.counts),
      deliveries: {
        total: open + delivered + dead + cancelled,
        open,
        delivered,
        dead,
        cancelled,
        data: deliveries.map((row) => DeliveryResponse.from(row)),
      },
    };
  }
}
