import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsInt,
  IsObject,
  IsString,
  IsUUID,
  Matches,
  Max,
  Min,
  ValidateBy,
  ValidateNested,
} from 'class-validator';
import { DELIVERY_STATUSES, type DeliveryStatus } from '../domain/delivery-status.js';
import { isEventTypePattern } from '../domain/event-type.js';
import { DeliveryResponse } from '../http/delivery.dto.js';
import { IsTime } from '../http/is-time.js';
import { MayBeLeftOut } from '../http/may-be-left-out.js';
import { PageResponse } from '../http/paging.dto.js';
import { LookUp } from '../http/validation.pipe.js';
import { OneOf } from '../http/one-of.js';

const INTERVALS = ['minute', 'hour', 'day'] as const;
const MAX_PATTERNS = 50;
const TEXT = /^[^\p{Cc}\p{Cs}]+$/u;

/** One value stands for a list of it. */
const OneOrMore = (): PropertyDecorator =>
  Transform(({ value }: { value: unknown }) =>
    value === undefined || Array.isArray(value) ? value : [value],
  );

const IsPattern = () =>
  ValidateBy({
    name: 'isPattern',
    validator: {
      validate: (value) =>
        Array.isArray(value) &&
        value.length > 0 &&
        value.length <= MAX_PATTERNS &&
        value.every((pattern) => isEventTypePattern(pattern)),
      defaultMessage: () =>
        `must be an event type, in which * may stand anywhere, or 1 to ${MAX_PATTERNS} of them`,
    },
  });

const IsStatusCode = () =>
  ValidateBy({
    name: 'isStatusCode',
    validator: {
      validate: (value) =>
        typeof value === 'string'
          ? /^[1-9]xx$/.test(value)
          : Number.isInteger(value) && (value as number) >= 100 && (value as number) <= 999,
      defaultMessage: () => 'must be a number from 100 to 999, or one of "1xx" to "9xx"',
    },
  });

const IsScalar = () =>
  ValidateBy({
    name: 'isScalar',
    validator: {
      validate: (value) =>
        value === null ||
        typeof value === 'boolean' ||
        Number.isFinite(value) ||
        (typeof value === 'string' && value.length <= 1_000 && /^[^\0\p{Cs}]*$/u.test(value)),
      defaultMessage: () =>
        'must be null, true, false, a number, or a string of up to 1,000 characters without NUL',
    },
  });

@ApiSchema({ name: 'PayloadValue' })
export class PayloadValueDto {
  @ApiProperty({
    description:
      'Names of members, and numbers of elements, from the outside inwards, with dots between them: ' +
      '`order.lines.0.sku`.',
    example: 'order.customer.id',
  })
  @Matches(/^[^.\0\p{Cs}]{1,256}(?:\.[^.\0\p{Cs}]{1,256}){0,19}$/u, {
    message: 'must be 1 to 20 names with dots between them',
  })
  path!: string;

  @ApiProperty({
    oneOf: [{ type: 'string' }, { type: 'number', format: 'double' }, { type: 'boolean' }],
    nullable: true,
    description: 'Compared with its type: `"42"` is not `42`. `null` is a value that is there.',
    example: 'cus_81',
  })
  @IsScalar()
  equals!: string | number | boolean | null;
}

@LookUp()
@ApiSchema({ name: 'SearchRequest' })
export class SearchDto {
  @ApiPropertyOptional({
    oneOf: [
      { $ref: '#/components/schemas/DeliveryStatus' },
      { type: 'array', minItems: 1, items: { $ref: '#/components/schemas/DeliveryStatus' } },
    ],
    description: 'One, or a list of which any will do.',
    example: ['dead', 'retrying'],
  })
  @MayBeLeftOut()
  @OneOrMore()
  @ArrayMinSize(1, { message: 'must be a status, or a list of at least one' })
  @OneOf(DELIVERY_STATUSES, { each: true })
  status?: DeliveryStatus[];

  @ApiPropertyOptional({
    oneOf: [
      { type: 'string' },
      { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: MAX_PATTERNS },
    ],
    description: 'One, or a list of which any will do; `*` stands for one or more characters.',
    example: 'order.*',
  })
  @MayBeLeftOut()
  @OneOrMore()
  @IsPattern()
  event_type?: string[];

  @ApiPropertyOptional({ format: 'uuid', example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5' })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a subscription' })
  subscription_id?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The source that took the event in.',
    example: '0198c0d0-22bb-7c3d-8e4f-a0b1c2d3e4f5',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a source' })
  source_id?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'The event was received then or later.',
    example: '2026-01-31T00:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'The event was received before that.',
    example: '2026-02-01T00:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  to?: string;

  @ApiPropertyOptional({ description: 'The one event that holds this key.', example: 'order-42-paid' })
  @MayBeLeftOut()
  @Matches(/^[^\p{Cc}\p{Cs}]{1,256}$/u, { message: 'must be 1 to 256 characters without control characters' })
  idempotency_key?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'The `id` of an event, as Posthorn gave it.',
    example: '0198c0de-7a5e-7a11-8c2d-1e2f3a4b5c6d',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id that Posthorn gave an event' })
  event_id?: string;

  @ApiPropertyOptional({
    oneOf: [
      { type: 'integer', minimum: 100, maximum: 999 },
      {
        title: 'StatusCodeClass',
        type: 'string',
        enum: ['1xx', '2xx', '3xx', '4xx', '5xx', '6xx', '7xx', '8xx', '9xx'],
      },
    ],
    description: 'Of the last answer.',
    example: '5xx',
  })
  @MayBeLeftOut()
  @IsStatusCode()
  status_code?: number | string;

  @ApiPropertyOptional({
    maxLength: 200,
    description: 'Is in `last_error`, in whatever case.',
    example: 'timeout',
  })
  @MayBeLeftOut()
  @Matches(TEXT, { message: 'must not be empty, nor hold control characters' })
  @Matches(/^.{1,200}$/su, { message: 'must be a string of 1 to 200 characters' })
  error?: string;

  @ApiPropertyOptional({
    type: [PayloadValueDto],
    maxItems: 5,
    description: 'All of these stand in the payload, which is JSON and has no more than 1 MiB.',
  })
  @MayBeLeftOut()
  @ArrayMinSize(1, { message: 'must have at least one element' })
  @ArrayMaxSize(5, { message: 'must have at most 5 elements' })
  @IsObject({ each: true, message: 'must be a list of {path, equals}' })
  @ValidateNested({ each: true, message: 'must be a list of {path, equals}' })
  @IsArray({ message: 'must be a list of {path, equals}' })
  @Type(() => PayloadValueDto)
  payload?: PayloadValueDto[];

  @ApiPropertyOptional({
    enum: INTERVALS,
    enumName: 'Interval',
    default: 'hour',
    description: 'Of the histogram.',
  })
  @MayBeLeftOut()
  @OneOf(INTERVALS)
  interval: (typeof INTERVALS)[number] = 'hour';

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: 100,
    default: 50,
    description: 'Deliveries a page.',
  })
  @MayBeLeftOut()
  @Min(1)
  @Max(100)
  @IsInt({ message: 'must be a whole number from 1 to 100' })
  limit: number = 50;

  @ApiPropertyOptional({
    description: 'The `next_cursor` or `previous_cursor` of an answer to the same search.',
  })
  @MayBeLeftOut()
  @IsString()
  cursor?: string;
}

class FoundEventResponse {
  @ApiProperty({
    description: "The sender's id of it; that of Posthorn if there was none.",
    example: 'evt_123',
  })
  event_id!: string;

  @ApiProperty({ type: String, nullable: true, example: 'order-42-paid' })
  idempotency_key!: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'uuid', example: null })
  source_id!: string | null;

  @ApiProperty({ example: 'application/json' })
  content_type!: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  received_at!: string;
}

export class FoundDeliveryResponse extends DeliveryResponse {
  @ApiProperty({ type: FoundEventResponse, nullable: true, description: 'Null when the event was purged.' })
  event!: FoundEventResponse | null;
}

class HistogramBarResponse {
  @ApiProperty({ format: 'date-time', description: 'When it begins.', example: '2026-01-31T12:00:00.000Z' })
  at!: string;

  @ApiProperty({ type: Number, example: 12 })
  count!: number;
}

const COUNTS = { type: 'object', additionalProperties: { type: 'integer' } } as const;

class AggregationsResponse {
  @ApiProperty({ type: Number, description: 'Deliveries that fit, of those that were counted.', example: 17 })
  total!: number;

  @ApiProperty({ type: Boolean, description: 'Whether all that fit were counted.', example: true })
  is_exact!: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    format: 'date-time',
    description: 'All that fit of events since then were counted. Null when they all were.',
    example: null,
  })
  counted_since!: string | null;

  @ApiProperty({ ...COUNTS, example: { dead: 12, retrying: 5 } })
  by_status!: Record<string, number>;

  @ApiProperty({ ...COUNTS, description: 'The 50 most frequent types.', example: { 'order.paid': 17 } })
  by_event_type!: Record<string, number>;

  @ApiProperty({ type: Number, description: 'Of all other types.', example: 0 })
  other_event_types!: number;

  @ApiProperty({
    type: [HistogramBarResponse],
    description:
      'By the time at which the event was received, the oldest first; without those of which there are none.',
  })
  histogram!: HistogramBarResponse[];
}

export class SearchResponse extends PageResponse {
  @ApiProperty({ type: [FoundDeliveryResponse], description: 'Newest first.' })
  data!: FoundDeliveryResponse[];

  @ApiProperty({ type: String, nullable: true, example: null, description: 'Null on the newest page.' })
  previous_cursor!: string | null;

  @ApiProperty({
    type: Boolean,
    description: 'False when time was up before the page was full: the next cursor goes on with the search.',
    example: true,
  })
  is_complete!: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    format: 'date-time',
    description: 'How far the search came. Null when there is nothing further.',
    example: null,
  })
  searched_to!: string | null;

  @ApiProperty({ type: AggregationsResponse, nullable: true, description: 'Null with a cursor.' })
  aggregations!: AggregationsResponse | null;
}
