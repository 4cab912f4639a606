import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { PROBLEMS } from '../domain/errors.js';
import type { EventStatus } from '../domain/delivery-status.js';
import { ANY_JSON } from '../http/any-json.js';
import { FieldErrorResponse } from '../http/openapi/api-problems.js';
import { toProblem } from '../http/problem.filter.js';
import { NO_DELIVERY_REASONS, type NoDeliveries } from '../domain/tenant-subscriptions.js';
import type { Accepted } from './ingestion.service.js';

const EXAMPLE_ID = '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e';

const EVENT_TYPE = { minLength: 1, maxLength: 256, pattern: '^[A-Za-z0-9][A-Za-z0-9._:/-]*$' };
const KEY = { minLength: 1, maxLength: 256 };

/** For the documentation: the bodies themselves are read by `incoming-event.ts`, which keeps the payload's bytes. */
export class EventRequest {
  @ApiProperty({ ...EVENT_TYPE, example: 'order.paid' })
  event_type!: string;

  @ApiProperty({
    ...ANY_JSON,
    description: 'Any JSON value. Subscribers receive exactly these bytes.',
    example: { order: 42, amount: 12.5 },
  })
  payload!: unknown;

  @ApiPropertyOptional({ ...KEY, example: 'evt_123', description: 'Your own id of the event.' })
  event_id?: string;

  @ApiPropertyOptional({
    ...KEY,
    example: 'order-42-paid',
    description:
      'The same key again is the same event. Defaults to `event_id`; may come as `Idempotency-Key` header.',
  })
  idempotency_key?: string;
}

export class DirectEventRequest {
  @ApiProperty({ ...EVENT_TYPE, example: 'user.created' })
  event!: string;

  @ApiProperty({
    ...ANY_JSON,
    description: 'Any JSON value. The subscriber receives exactly these bytes.',
    example: { id: 123, name: 'John Doe' },
  })
  data!: unknown;

  @ApiPropertyOptional({ ...KEY, example: 'evt_123' })
  event_id?: string;

  @ApiPropertyOptional({ ...KEY, example: 'user-123-created' })
  idempotency_key?: string;
}

export class BatchRequest {
  @ApiProperty({ type: [EventRequest], minItems: 1, maxItems: 1000 })
  events!: EventRequest[];
}

export class NoDeliveriesResponse {
  @ApiProperty({
    enum: NO_DELIVERY_REASONS,
    enumName: 'NoDeliveryReason',
    example: 'inactive',
    description:
      '`no_subscription`: the tenant has none. `inactive`: those that want the event are switched off, and will not ' +
      'get it later. `event_type`: none wants its type.',
  })
  reason!: NoDeliveries['reason'];

  @ApiProperty({ type: 'integer', example: 1, description: 'Subscriptions that want it and are not active.' })
  inactive!: number;

  @ApiProperty({ type: 'integer', example: 3, description: 'Subscriptions that do not want its type.' })
  event_type!: number;
}

export class EventAcceptedResponse {
  @ApiProperty({ example: EXAMPLE_ID, format: 'uuid', description: 'Sent to subscribers as `webhook-id`.' })
  id!: string;

  @ApiProperty({ example: 'evt_123', description: 'Your id of it; `id` if you gave none.' })
  event_id!: string;

  @ApiProperty({ example: 'order.paid' })
  event_type!: string;

  @ApiProperty({
    enum: ['received', 'delivering', 'delivered', 'failed'],
    enumName: 'EventStatus',
    example: 'delivering',
  })
  status!: EventStatus;

  @ApiProperty({ example: false })
  duplicate!: boolean;

  @ApiProperty({ example: 2, description: 'How many subscriptions get it.' })
  deliveries!: number;

  @ApiPropertyOptional({
    type: NoDeliveriesResponse,
    description: 'Why no subscription gets it. There only where that is so, and the event is new.',
  })
  no_deliveries?: NoDeliveriesResponse;

  @ApiProperty({ example: '2026-01-31T12:00:00.000Z', format: 'date-time' })
  received_at!: string;

  static from(accepted: Accepted): EventAcceptedResponse {
    return {
      id: accepted.id,
      event_id: accepted.eventId,
      event_type: accepted.eventType,
      status: accepted.status,
      duplicate: accepted.duplicate,
      deliveries: accepted.deliveries,
      ...(accepted.noDeliveries && { no_deliveries: accepted.noDeliveries }),
      received_at: accepted.receivedAt.toISOString(),
    };
  }
}

class BatchErrorResponse {
  @ApiProperty({ enum: Object.keys(PROBLEMS), enumName: 'ProblemCode', example: 'invalid_request' })
  code!: string;

  @ApiProperty({ example: 'events[3].payload: is missing; it may be any JSON value' })
  detail!: string;

  @ApiPropertyOptional({
    type: [FieldErrorResponse],
    example: [{ path: 'events[3].payload', message: 'is missing; it may be any JSON value' }],
  })
  errors?: FieldErrorResponse[];
}

export class BatchResultResponse {
  @ApiProperty({ example: 0, description: 'Its place in the request.' })
  index!: number;

  @ApiProperty({
    enum: ['accepted', 'duplicate', 'rejected'],
    enumName: 'BatchResultStatus',
    example: 'accepted',
  })
  status!: 'accepted' | 'duplicate' | 'rejected';

  @ApiPropertyOptional({ example: EXAMPLE_ID, format: 'uuid' })
  id?: string;

  @ApiPropertyOptional({
    type: NoDeliveriesResponse,
    description: 'Why no subscription gets it. There only where that is so, and the event is new.',
  })
  no_deliveries?: NoDeliveriesResponse;

  @ApiPropertyOptional({ type: BatchErrorResponse })
  error?: BatchErrorResponse;

  static from(result: Accepted | Error, index: number): BatchResultResponse {
    if (!(result instanceof Error)) {
      const { id, duplicate, noDeliveries } = result;
      return {
        index,
        status: duplicate ? 'duplicate' : 'accepted',
        id,
        ...(noDeliveries && { no_deliveries: noDeliveries }),
      };
    }
    const { code, message: detail, errors } = toProblem(result);
    return { index, status: 'rejected', error: { code, detail, ...(errors.length > 0 && { errors }) } };
  }
}

export class BatchResponse {
  @ApiProperty({ type: [BatchResultResponse] })
  results!: BatchResultResponse[];

  static from(results: (Accepted | Error)[]): BatchResponse {
    return { results: results.map((result, index) => BatchResultResponse.from(result, index)) };
  }
}
