import { ApiProperty } from '@nestjs/swagger';
import { DELIVERY_STATUSES, type DeliveryStatus } from '../domain/delivery-status.js';
import { AttemptRow, DeliveryRow } from '../persistence/repositories/delivery.repository.js';
import { PageResponse } from './paging.dto.js';

/** One event for one subscription. */
export class DeliveryResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  id!: string;

  @ApiProperty({
    format: 'uuid',
    description: 'The `id` of the event; the subscriber saw it as `webhook-id`.',
    example: '0198c0de-7a5e-7a11-8c2d-1e2f3a4b5c6d',
  })
  event_id!: string;

  @ApiProperty({ example: 'order.created' })
  event_type!: string;

  @ApiProperty({ format: 'uuid', example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5' })
  subscription_id!: string;

  @ApiProperty({ enum: DELIVERY_STATUSES, enumName: 'DeliveryStatus', example: 'retrying' })
  status!: DeliveryStatus;

  @ApiProperty({ type: Number, description: 'Attempts begun so far, over all retries.', example: 2 })
  attempt_count!: number;

  @ApiProperty({
    type: String,
    nullable: true,
    format: 'date-time',
    description: 'Null once the delivery has ended.',
    example: '2026-01-31T12:00:30.000Z',
  })
  next_attempt_at!: string | null;

  @ApiProperty({ type: Number, nullable: true, example: 503 })
  last_status_code!: number | null;

  @ApiProperty({ type: String, nullable: true, example: 'HTTP 503' })
  last_error!: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  created_at!: string;

  @ApiProperty({ type: String, nullable: true, format: 'date-time', example: null })
  completed_at!: string | null;

  static from(row: DeliveryRow): DeliveryResponse {
    return {
      id: row.id,
      event_id: row.event_id,
      event_type: row.event_type,
      subscription_id: row.subscription_id,
      status: row.status,
      attempt_count: row.attempt_count,
      next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
      last_status_code: row.last_status_code,
      last_error: row.last_error,
      created_at: row.created_at.toISOString(),
      completed_at: row.completed_at?.toISOString() ?? null,
    };
  }
}

/** One HTTP try of a delivery. */
export class AttemptResponse {
  @ApiProperty({ type: Number, description: 'The first is 1.', example: 1 })
  attempt_number!: number;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.012Z' })
  started_at!: string;

  @ApiProperty({ type: Number, example: 87 })
  duration_ms!: number;

  @ApiProperty({ type: Number, nullable: true, description: 'Null when there was no answer.', example: 503 })
  status_code!: number | null;

  @ApiProperty({ type: Boolean, example: false })
  success!: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Why it failed; null when it was delivered.',
    example: 'HTTP 503',
  })
  error!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Of a delivered attempt: in which way the answer was not complete after its headers.',
    example: null,
  })
  note!: string | null;

  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: true,
    example: { 'content-type': 'text/plain', 'retry-after': '5' },
  })
  response_headers!: unknown;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'At most the first 4 KiB, decompressed and in its charset where both are known.',
    example: 'try later',
  })
  response_body!: string | null;

  static from(row: AttemptRow): AttemptResponse {
    return {
      attempt_number: row.attempt_number,
      started_at: row.started_at.toISOString(),
      duration_ms: row.duration_ms,
      status_code: row.status_code,
      success: row.success,
      error: row.success ? null : row.error,
      note: row.success ? row.error : null,
      response_headers: row.response_headers,
      response_body: row.response_body,
    };
  }
}

export class DeliveryWithAttemptsResponse extends DeliveryResponse {
  @ApiProperty({ type: [AttemptResponse], description: 'The first one first.' })
  attempts!: AttemptResponse[];

  static withAttempts(row: DeliveryRow, attempts: AttemptRow[]): DeliveryWithAttemptsResponse {
    return {
      ...DeliveryResponse.from(row),
      attempts: attempts.map((attempt) => AttemptResponse.from(attempt)),
    };
  }
}

export class DeliveryPageResponse extends PageResponse {
  @ApiProperty({ type: [DeliveryResponse] })
  data!: DeliveryResponse[];
}
