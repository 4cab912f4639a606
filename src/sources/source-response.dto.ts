import { ApiProperty } from '@nestjs/swagger';
import { PROVIDER_NAMES, type ProviderName } from '../domain/providers/provider-names.js';
import type { SourceSettings } from '../domain/providers/source-settings.js';
import { PageResponse } from '../http/paging.dto.js';
import { SourceEntity } from '../persistence/entities/source.entity.js';

export class SourceResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  id: string;

  @ApiProperty({
    format: 'uuid',
    description: 'Its tenant: what a source of `posthorn` wants as X-Tenant-ID.',
    example: '0198c0d0-33cc-7c3d-8e4f-a0b1c2d3e4f5',
  })
  tenant_id: string;

  @ApiProperty({ example: 'GitHub, our organisation' })
  name: string;

  @ApiProperty({ enum: PROVIDER_NAMES, enumName: 'WebhookProvider', example: 'github' })
  provider: ProviderName;

  @ApiProperty({ type: 'object', additionalProperties: true, example: {} })
  settings: SourceSettings;

  @ApiProperty({
    example: '/api/v1/webhooks/receive/0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
    description: 'What to give to the provider: behind the PUBLIC_URL of the service, where it has one.',
  })
  receive_url: string;

  @ApiProperty({ example: true })
  is_active: boolean;

  @ApiProperty({ type: [String], example: [] })
  allowed_ips: string[];

  @ApiProperty({ type: String, nullable: true, example: 'Billing' })
  description: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'Until then what is signed with the secret before is taken as well.',
  })
  previous_secret_expires_at: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  created_at: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  updated_at: string;

  /** @param publicUrl null: the path alone is known */
  constructor(row: SourceEntity, publicUrl: string | null, nowMs: number) {
    const endpoint = row.provider === 'posthorn' ? 'ingest' : `receive/${row.id}`;
    const overlapEnd = row.previousSecretExpiresAt;
    this.id = row.id;
    this.tenant_id = row.tenantId;
    this.name = row.name;
    this.provider = row.provider;
    this.settings = row.settings;
    this.receive_url = `${publicUrl ?? ''}/api/v1/webhooks/${endpoint}`;
    this.is_active = row.isActive;
    this.allowed_ips = row.allowedIps;
    this.description = row.description;
    this.previous_secret_expires_at =
      overlapEnd !== null && nowMs < overlapEnd.getTime() ? overlapEnd.toISOString() : null;
    this.created_at = row.createdAt.toISOString();
    this.updated_at = row.updatedAt.toISOString();
  }
}

/** The answer to create and rotate-secret alone. */
export class SourceWithSecretResponse extends SourceResponse {
  @ApiProperty({
    example: 'phs_kX0b9mZtR3vJYpQ7wL2nHc5uEaGdFi8sTz4xVr6yBoM',
    description: 'It is shown here and never again.',
  })
  secret: string;

  constructor(row: SourceEntity, publicUrl: string | null, nowMs: number, secret: string) {
    super(row, publicUrl, nowMs);
    this.secret = secret;
  }
}

export class SourcePageResponse extends PageResponse {
  @ApiProperty({ type: [SourceResponse] })
  data!: SourceResponse[];
}
