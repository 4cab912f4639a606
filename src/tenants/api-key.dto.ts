import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsInt, Max, Min } from 'class-validator';
import { Scope, SCOPES } from '../domain/scope.js';
import { IsTime } from '../http/is-time.js';
import { MayBeLeftOut, MayBeNull } from '../http/may-be-left-out.js';
import { PageResponse } from '../http/paging.dto.js';
import { IsName } from '../http/is-name.js';
import { OptionalBody } from '../http/validation.pipe.js';
import { OneOf } from '../http/one-of.js';
import { ApiKeyEntity } from '../persistence/entities/api-key.entity.js';

const KEY_EXAMPLE = 'ph_Jk3vXb1nQ0s5YwRz8LcT2uPdEoHaMfGi7x4VqK9NtBe';
const MAX_OVERLAP_SECONDS = 30 * 86_400;

const SCOPES_RULE = { message: `must be a list of one or more of ${SCOPES.join(', ')}` };

@ApiSchema({ name: 'CreateApiKeyRequest' })
export class CreateApiKeyDto {
  @ApiProperty({ minLength: 1, maxLength: 200, example: 'checkout service' })
  @IsName()
  name!: string;

  @ApiProperty({
    enum: SCOPES,
    enumName: 'KeyScope',
    isArray: true,
    minItems: 1,
    example: ['events:write', 'read'],
    description:
      '`events:write` hands in events; `subscriptions:write` changes subscriptions and sources, sees secrets, and retries or ' +
      'ends deliveries; `read` looks at everything but secrets; `admin` may do all of that, and manages keys.',
  })
  @IsArray(SCOPES_RULE)
  @ArrayMinSize(1, SCOPES_RULE)
  @ArrayMaxSize(10, SCOPES_RULE)
  @OneOf(SCOPES, { each: true, rule: SCOPES_RULE.message })
  scopes!: Scope[];

  @ApiPropertyOptional({
    type: String,
    format: 'date-time',
    nullable: true,
    example: '2036-01-31T12:00:00.000Z',
    description: 'From then on it is refused. Null: never.',
  })
  @MayBeNull()
  @IsTime()
  expires_at?: string | null;
}

@OptionalBody()
@ApiSchema({ name: 'RotateApiKeyRequest' })
export class RotateApiKeyDto {
  @ApiPropertyOptional({
    minimum: 0,
    maximum: MAX_OVERLAP_SECONDS,
    default: 86_400,
    example: 86_400,
    description: 'How long the old key goes on working beside the new one.',
  })
  @MayBeLeftOut()
  @Min(0)
  @Max(MAX_OVERLAP_SECONDS)
  @IsInt({ message: 'must be a whole number of seconds' })
  overlap_seconds: number = 86_400;
}

export class ApiKeyResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  id: string;

  @ApiProperty({ example: 'checkout service' })
  name: string;

  @ApiProperty({ enum: SCOPES, enumName: 'KeyScope', isArray: true, example: ['events:write', 'read'] })
  scopes: Scope[];

  @ApiProperty({ example: 'ph_Jk3v', description: 'How the key begins, to recognise it by.' })
  prefix: string;

  @ApiProperty({ example: 'NtBe', description: 'How it ends.' })
  last_four: string;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  expires_at: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: '2026-01-31T12:00:00.000Z',
    description: 'Written every half minute.',
  })
  last_used_at: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  created_at: string;

  constructor(row: ApiKeyEntity) {
    this.id = row.id;
    this.name = row.name;
    this.scopes = row.scopes;
    this.prefix = row.prefix;
    this.last_four = row.lastFour;
    this.expires_at = row.expiresAt?.toISOString() ?? null;
    this.last_used_at = row.lastUsedAt?.toISOString() ?? null;
    this.created_at = row.createdAt.toISOString();
  }

  static from(row: ApiKeyEntity): ApiKeyResponse {
    return new ApiKeyResponse(row);
  }
}

export class CreatedApiKeyResponse extends ApiKeyResponse {
  @ApiProperty({ example: KEY_EXAMPLE, description: 'The key itself. It is shown here and never again.' })
  api_key: string;

  constructor(row: ApiKeyEntity, apiKey: string) {
    super(row);
    this.api_key = apiKey;
  }
}

export class ApiKeyPageResponse extends PageResponse {
  @ApiProperty({ type: [ApiKeyResponse] })
  data!: ApiKeyResponse[];
}
