import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  Equals,
  IsArray,
  IsBoolean,
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { IsDescription } from '../http/is-description.js';
import { MayBeLeftOut } from '../http/may-be-left-out.js';
import { PageQuery } from '../http/paging.dto.js';
import { MAX_FIELDS, OptionalBody } from '../http/validation.pipe.js';
import { OneOf } from '../http/one-of.js';
import { RETRY_POLICY } from './retry-policy.schema.js';

function WholeNumber(min: number, max: number, unit = ''): PropertyDecorator {
  const message = `must be a whole number from ${min} to ${max} ${unit}`.trimEnd();
  return applyDecorators(IsInt({ message }), Min(min, { message }), Max(max, { message }));
}

@ApiSchema({ name: 'RateLimit' })
export class RateLimitDto {
  @ApiProperty({ minimum: 1, maximum: 100_000, example: 3, description: 'Deliveries a period.' })
  @WholeNumber(1, 100_000)
  limit!: number;

  @ApiPropertyOptional({ minimum: 1, maximum: 86_400, default: 1, example: 1 })
  @MayBeLeftOut()
  @WholeNumber(1, 86_400, 'seconds')
  period_seconds: number = 1;
}

/** What a subscription has beside its target. Every field may be left out. */
export class SubscriptionFieldsDto {
  @ApiPropertyOptional({
    type: [String],
    maxItems: 100,
    default: [],
    example: ['user.*', 'order.created'],
    description: 'The event types that it wants; `*` stands for any part. Empty: every event type.',
  })
  @MayBeLeftOut()
  @ArrayMaxSize(100, { message: 'must have at most 100 patterns' })
  @IsArray({ message: 'must be a list of event types such as ["user.*"]' })
  event_types?: unknown[];

  @ApiPropertyOptional({
    type: String,
    example: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD4m3pN5Qz8wY=',
    description:
      'Signs the deliveries: `whsec_` and 24 to 64 bytes in base64, which are the key, or 16 to 256 printable ASCII ' +
      'characters of your own, which are the key as they stand, whatever they look like. Made for you when you create ' +
      'a subscription without one; otherwise it stays as it is when left out. A new one given here holds at once; ' +
      'rotate-secret lets both hold for a while.',
  })
  @MayBeLeftOut()
  @IsString({ message: 'must be a string' })
  secret?: string;

  @ApiPropertyOptional({
    default: true,
    example: true,
    description:
      'Whether new events are delivered to it. While it is false they make no deliveries for it, also not later; those ' +
      'that are open wait.',
  })
  @MayBeLeftOut()
  @IsBoolean({ message: 'must be true or false' })
  is_active?: boolean;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'string' },
    maxProperties: 20,
    example: { 'X-Tenant': 'acme' },
    description: 'Up to 20 headers of your own on each delivery.',
  })
  @MayBeLeftOut()
  @IsObject({ message: 'must be an object of header names and values' })
  headers?: Record<string, unknown>;

  @ApiPropertyOptional({
    ...RETRY_POLICY,
    default: null,
    example: { schedule: [1, 2, 4] },
    description:
      'A policy by name, the seconds after each failure, or an exponential rule. Null: the configured default.',
  })
  @IsOptional()
  retry_policy?: unknown;

  @ApiPropertyOptional({
    type: Number,
    nullable: true,
    minimum: 100,
    maximum: 30_000,
    default: null,
    example: 10_000,
    description: 'How long one attempt may take, in milliseconds. Null: the configured default.',
  })
  @IsOptional()
  @WholeNumber(100, 30_000, 'milliseconds')
  timeout_ms?: number | null;

  @ApiPropertyOptional({
    type: RateLimitDto,
    nullable: true,
    default: null,
    description: 'At most so many deliveries a period, across all workers. Null: no limit.',
  })
  @IsOptional()
  @ValidateNested()
  @IsObject({ message: 'must be {"limit", "period_seconds"} or null' })
  @Type(() => RateLimitDto)
  rate_limit?: RateLimitDto | null;

  @ApiPropertyOptional({
    type: Number,
    nullable: true,
    minimum: 1,
    maximum: 1_000,
    default: null,
    example: 10,
    description:
      'At most so many deliveries under way at once, across all workers. Null: no limit of its own.',
  })
  @IsOptional()
  @WholeNumber(1, 1_000)
  max_concurrency?: number | null;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 1_000, default: null, example: 'Billing' })
  @IsOptional()
  @IsDescription()
  description?: string | null;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    maxProperties: MAX_FIELDS,
    example: { team: 'billing' },
    description:
      'Anything you want to find here again: at most 16 KiB of JSON, and at most 1,000 fields in one object of it.',
  })
  @MayBeLeftOut()
  @IsObject({ message: 'must be an object' })
  metadata?: Record<string, unknown>;

  @ApiPropertyOptional({
    type: 'object',
    nullable: true,
    example: null,
    additionalProperties: false,
    description: 'Not supported yet.',
  })
  @IsOptional()
  @Equals(null, { message: 'is not supported yet: leave it out or send null' })
  filter?: null;

  @ApiPropertyOptional({ enum: ['none'], enumName: 'Ordering', default: 'none', example: 'none' })
  @MayBeLeftOut()
  @Equals('none', { message: 'is not supported yet but for "none"' })
  ordering?: 'none';
}

/** A whole subscription: what POST creates and PUT puts in the place of the old one. */
@ApiSchema({ name: 'SubscriptionRequest' })
export class SubscriptionDto extends SubscriptionFieldsDto {
  @ApiProperty({
    maxLength: 2048,
    example: 'https://example.com/hooks',
    description: 'Where deliveries go: http or https, without credentials and fragment.',
  })
  @IsString({ message: 'must be a URL such as https://example.com/hook' })
  target_url!: string;
}

/** The fields to change; the others stay. */
@ApiSchema({ name: 'UpdateSubscriptionRequest' })
export class SubscriptionPatchDto extends SubscriptionFieldsDto {
  @ApiPropertyOptional({ maxLength: 2048, example: 'https://example.com/hooks' })
  @MayBeLeftOut()
  @IsString({ message: 'must be a URL such as https://example.com/hook' })
  target_url?: string;
}

/** What both of them may give. */
export type GivenFields = SubscriptionFieldsDto & { target_url?: string };

@OptionalBody()
@ApiSchema({ name: 'RotateSecretRequest' })
export class RotateSecretDto {
  @ApiPropertyOptional({
    example: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD4m3pN5Qz8wY=',
    description: 'The new secret, in the forms of `secret` in create; made for you when left out.',
  })
  @MayBeLeftOut()
  @IsString({ message: 'must be a string' })
  secret?: string;

  @ApiPropertyOptional({
    minimum: 0,
    maximum: 2_592_000,
    default: 86_400,
    example: 86_400,
    description: 'How long the old secret signs as well, in seconds, so that the subscriber can change over.',
  })
  @MayBeLeftOut()
  @WholeNumber(0, 2_592_000, 'seconds')
  overlap_seconds: number = 86_400;
}

export class SubscriptionQuery extends PageQuery {
  @ApiPropertyOptional({
    type: Boolean,
    example: true,
    description: 'Only active ones, or only others.',
  })
  @MayBeLeftOut()
  @OneOf(['true', 'false'], { rule: 'must be true or false' })
  is_active?: 'true' | 'false';
}
