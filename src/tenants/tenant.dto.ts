import { ApiProperty, ApiPropertyOptional, ApiSchema, PartialType } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsBoolean,
  IsInt,
  IsNumber,
  IsObject,
  IsString,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { IsName } from '../http/is-name.js';
import { MayBeLeftOut, MayBeNull } from '../http/may-be-left-out.js';
import { PageResponse } from '../http/paging.dto.js';
import { TenantEntity } from '../persistence/entities/tenant.entity.js';

const PER_SECOND = { message: 'must be a number from 0.01 to 1,000,000' };
const BURST = { message: 'must be a whole number from 1 to 10,000,000' };

@ApiSchema({ name: 'TenantRateLimit' })
export class TenantRateLimitDto {
  @ApiProperty({
    format: 'double',
    minimum: 0.01,
    maximum: 1_000_000,
    example: 200,
    description: 'Requests a second, for good.',
  })
  @IsNumber({}, PER_SECOND)
  @Min(0.01, PER_SECOND)
  @Max(1_000_000, PER_SECOND)
  per_second!: number;

  @ApiProperty({ minimum: 1, maximum: 10_000_000, example: 1_000, description: 'Requests at once, at most.' })
  @IsInt(BURST)
  @Min(1, BURST)
  @Max(10_000_000, BURST)
  burst!: number;
}

const RATE_LIMIT = { message: 'must be an object with per_second and burst, or null' };

@ApiSchema({ name: 'CreateTenantRequest' })
export class CreateTenantDto {
  @ApiProperty({ minLength: 1, maxLength: 200, example: 'Acme Shop' })
  @IsName()
  name!: string;

  @ApiPropertyOptional({
    example: false,
    description: 'While it is, its keys are refused with 403 `tenant_suspended`, and its deliveries wait.',
  })
  @MayBeLeftOut()
  @IsBoolean({ message: 'must be true or false' })
  suspended?: boolean;

  @ApiPropertyOptional({
    type: TenantRateLimitDto,
    nullable: true,
    description: 'Null: as configured. A batch counts as many requests as it has events.',
  })
  @MayBeNull()
  // Each member of a list would be checked as if it were the limit, and the list be none.
  @IsObject(RATE_LIMIT)
  @ValidateNested(RATE_LIMIT)
  @Type(() => TenantRateLimitDto)
  rate_limit?: TenantRateLimitDto | null;

  @ApiPropertyOptional({
    type: Number,
    format: 'double',
    nullable: true,
    minimum: 1,
    example: 24,
    description:
      'How long its events and deliveries that have ended are kept, in hours. Null: as configured, which is also ' +
      'the most.',
  })
  @MayBeNull()
  @Min(1)
  @IsNumber({}, { message: 'must be a number of hours' })
  retention_hours?: number | null;

  @ApiPropertyOptional({
    type: [String],
    maxItems: 100,
    example: [],
    description: 'CIDRs from which its keys may be used, such as `192.0.2.0/24`. Empty: from everywhere.',
  })
  @MayBeLeftOut()
  @ArrayMaxSize(100)
  @IsString({ each: true, message: 'must hold CIDRs such as 192.0.2.0/24' })
  @IsArray({ message: 'must be a list of CIDRs' })
  allowed_ips?: string[];
}

@ApiSchema({ name: 'UpdateTenantRequest' })
export class TenantPatchDto extends PartialType(CreateTenantDto, { skipNullProperties: false }) {}

export class TenantResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  id: string;

  @ApiProperty({ example: 'Acme Shop' })
  name: string;

  @ApiProperty({ example: false })
  suspended: boolean;

  @ApiProperty({ type: TenantRateLimitDto, nullable: true })
  rate_limit: TenantRateLimitDto | null;

  @ApiProperty({ type: Number, format: 'double', nullable: true, example: null })
  retention_hours: number | null;

  @ApiProperty({ type: [String], example: [] })
  allowed_ips: string[];

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'Since when all that it owns is being deleted.',
  })
  deletion_requested_at: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  created_at: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  updated_at: string;

  constructor(row: TenantEntity) {
    this.id = row.id;
    this.name = row.name;
    this.suspended = row.suspended;
    this.rate_limit =
      row.ratePerSecond === null || row.rateBurst === null
        ? null
        : { per_second: row.ratePerSecond, burst: row.rateBurst };
    this.retention_hours = row.retentionHours;
    this.allowed_ips = row.allowedIps;
    this.deletion_requested_at = row.deletionRequestedAt?.toISOString() ?? null;
    this.created_at = row.createdAt.toISOString();
    this.updated_at = row.updatedAt.toISOString();
  }

  static from(tenant: TenantEntity): TenantResponse {
    return new TenantResponse(tenant);
  }
}

export class CreatedTenantResponse extends TenantResponse {
  @ApiProperty({
    description: "The tenant's first API key, with the scope `admin`. It is shown here and never again.",
    example: 'ph_Jk3vXb1nQ0s5YwRz8LcT2uPdEoHaMfGi7x4VqK9NtBe',
  })
  api_key: string;

  constructor(tenant: TenantEntity, apiKey: string) {
    super(tenant);
    this.api_key = apiKey;
  }
}

export class TenantPageResponse extends PageResponse {
  @ApiProperty({ type: [TenantResponse] })
  data!: TenantResponse[];
}
