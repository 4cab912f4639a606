import { ApiProperty } from '@nestjs/swagger';
import { Length, Matches } from 'class-validator';
import { PageResponse } from '../http/paging.dto.js';
import { TenantEntity } from '../persistence/entities/tenant.entity.js';

export class CreateTenantDto {
  @ApiProperty({ minLength: 1, maxLength: 200, example: 'Acme Shop' })
  // Cs: halves of surrogate pairs, which UTF-8 cannot write.
  @Matches(/^[^\p{Cc}\p{Cs}]*$/u, { message: 'must not hold control characters' })
  @Matches(/\S/, { message: 'must not be blank' })
  @Length(1, 200, { message: 'must be a string of 1 to 200 characters' })
  name!: string;
}

export class TenantResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  id: string;

  @ApiProperty({ example: 'Acme Shop' })
  name: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  created_at: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  updated_at: string;

  constructor({ id, name, createdAt, updatedAt }: TenantEntity) {
    this.id = id;
    this.name = name;
    this.created_at = createdAt.toISOString();
    this.updated_at = updatedAt.toISOString();
  }

  static from(tenant: TenantEntity): TenantResponse {
    return new TenantResponse(tenant);
  }
}

export class CreatedTenantResponse extends TenantResponse {
  @ApiProperty({
    description: "The tenant's first API key. It is shown here and never again.",
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
