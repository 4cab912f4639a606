import { ApiProperty, ApiPropertyOptional, ApiSchema, IntersectionType } from '@nestjs/swagger';
import { IsString, IsUUID, ValidateBy } from 'class-validator';
import { DEAD_REASONS, type DeadReason } from '../domain/delivery-status.js';
import { isEventType } from '../domain/event-type.js';
import { ANY_JSON, PAYLOAD_BASE64 } from '../http/any-json.js';
import { AttemptResponse, DeliveryResponse } from '../http/delivery.dto.js';
import { IsTime } from '../http/is-time.js';
import { MayBeLeftOut } from '../http/may-be-left-out.js';
import { PageQuery, PageResponse } from '../http/paging.dto.js';
import { OneOf } from '../http/one-of.js';
import { DeadLetterFilter, DeadLetterRow } from '../persistence/repositories/dead-letter.repository.js';
import { AttemptRow } from '../persistence/repositories/delivery.repository.js';

/** Which dead letters are meant; without any field, all of the tenant. */
export class DeadLetterFilterDto {
  @ApiPropertyOptional({ format: 'uuid', example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5' })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a subscription' })
  subscription_id?: string;

  @ApiPropertyOptional({ example: 'order.created' })
  @MayBeLeftOut()
  @ValidateBy({
    name: 'isEventType',
    validator: { validate: isEventType, defaultMessage: () => 'must be one event type, without *' },
  })
  event_type?: string;

  @ApiPropertyOptional({ enum: DEAD_REASONS, enumName: 'DeadReason', example: 'exhausted' })
  @MayBeLeftOut()
  @OneOf(DEAD_REASONS)
  reason?: DeadReason;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Died at this time or later.',
    example: '2026-01-30T00:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Died before this time.',
    example: '2026-01-31T00:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  to?: string;

  static toFilter(dto: DeadLetterFilterDto): DeadLetterFilter {
    return {
      subscriptionId: dto.subscription_id,
      eventType: dto.event_type,
      reason: dto.reason,
      from: dto.from ? new Date(dto.from) : undefined,
      to: dto.to ? new Date(dto.to) : undefined,
    };
  }
}

export class DeadLetterQuery extends IntersectionType(PageQuery, DeadLetterFilterDto) {}

/** A delivery that will not be tried again by itself. */
export class DeadLetterResponse extends DeliveryResponse {
  @ApiProperty({ enum: DEAD_REASONS, enumName: 'DeadReason', example: 'exhausted' })
  reason!: DeadReason;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  dead_at!: string;

  static override from(row: DeadLetterRow): DeadLetterResponse {
    return { ...DeliveryResponse.from(row), reason: row.dead_reason, dead_at: row.dead_at.toISOString() };
  }
}

export class DeadLetterDetailResponse extends DeadLetterResponse {
  @ApiProperty({ type: [AttemptResponse], description: 'The first one first.' })
  attempts!: AttemptResponse[];

  @ApiProperty({ description: 'Of the payload, as subscribers get it.', example: 'application/json' })
  content_type!: string;

  @ApiPropertyOptional({
    ...ANY_JSON,
    description: 'The payload, byte for byte as it was handed in; any JSON value.',
    example: { order: 4711 },
  })
  payload?: unknown;

  @ApiPropertyOptional({ ...PAYLOAD_BASE64 })
  payload_base64?: string;

  /**
   * Without the payload, which must not be parsed.
   * @param contentType null for application/json
   */
  static withAttempts(
    row: DeadLetterRow,
    attempts: AttemptRow[],
    contentType: string | null,
  ): Omit<DeadLetterDetailResponse, 'payload'> {
    return {
      ...DeadLetterResponse.from(row),
      attempts: attempts.map((attempt) => AttemptResponse.from(attempt)),
      content_type: contentType ?? 'application/json',
    };
  }
}

export class DeadLetterPageResponse extends PageResponse {
  @ApiProperty({ type: [DeadLetterResponse] })
  data!: DeadLetterResponse[];
}

export class MatchedResponse {
  @ApiProperty({ type: Number, description: 'How many dead letters were changed.', example: 1250 })
  matched!: number;

  @ApiProperty({
    type: String,
    nullable: true,
    description:
      'Null when all dead letters were looked at. Else the time for one request was over: send the same filter with this ' +
      'as `cursor` for the rest.',
    example: null,
  })
  next_cursor!: string | null;
}

/** Which dead letters to change. */
@ApiSchema({ name: 'DeadLetterSelection' })
export class DeadLetterChangeDto extends DeadLetterFilterDto {
  @ApiPropertyOptional({
    description: 'The `next_cursor` of the answer before, to go on where that ended.',
    example: 'AZjA3npeexydPl8KGyw9Tg',
  })
  @MayBeLeftOut()
  @IsString({ message: 'must be the next_cursor of an earlier answer' })
  cursor?: string;
}
