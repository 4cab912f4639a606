import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { ArrayMaxSize, IsArray, IsBoolean, IsInt, IsObject, IsString, Max, Min } from 'class-validator';
import { PROVIDER_NAMES, type ProviderName } from '../domain/providers/provider-names.js';
import { IsDescription } from '../http/is-description.js';
import { IsName } from '../http/is-name.js';
import { MayBeLeftOut, MayBeNull } from '../http/may-be-left-out.js';
import { OptionalBody } from '../http/validation.pipe.js';
import { OneOf } from '../http/one-of.js';

const SECRET_EXAMPLE = 'phs_kX0b9mZtR3vJYpQ7wL2nHc5uEaGdFi8sTz4xVr6yBoM';
const MAX_OVERLAP_SECONDS = 30 * 86_400;

/** What a source has beside its name and provider. Every field may be left out. */
export class SourceFieldsDto {
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    example: {},
    description:
      'What the provider leaves open; docs/api.md has the settings of each. They are changed as a whole.',
  })
  @MayBeLeftOut()
  @IsObject({ message: 'must be an object' })
  settings?: Record<string, unknown>;

  @ApiPropertyOptional({
    default: true,
    example: true,
    description: 'While it is not, its address is answered 404.',
  })
  @MayBeLeftOut()
  @IsBoolean({ message: 'must be true or false' })
  is_active?: boolean;

  @ApiPropertyOptional({
    type: [String],
    maxItems: 100,
    default: [],
    example: [],
    description: 'CIDRs from which it may be used, such as `192.0.2.0/24`. Empty: from everywhere.',
  })
  @MayBeLeftOut()
  @ArrayMaxSize(100)
  @IsString({ each: true, message: 'must hold CIDRs such as 192.0.2.0/24' })
  @IsArray({ message: 'must be a list of CIDRs' })
  allowed_ips?: string[];

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 1_000, default: null, example: 'Billing' })
  @MayBeNull()
  @IsDescription()
  description?: string | null;
}

/** The fields to change; the others stay. */
@ApiSchema({ name: 'UpdateSourceRequest' })
export class SourcePatchDto extends SourceFieldsDto {
  @ApiPropertyOptional({ minLength: 1, maxLength: 200, example: 'GitHub, our organisation' })
  @MayBeLeftOut()
  @IsName()
  name?: string;
}

@ApiSchema({ name: 'CreateSourceRequest' })
export class CreateSourceDto extends SourceFieldsDto {
  @ApiProperty({ minLength: 1, maxLength: 200, example: 'GitHub, our organisation' })
  @IsName()
  name!: string;

  @ApiProperty({
    enum: PROVIDER_NAMES,
    enumName: 'WebhookProvider',
    example: 'github',
    description:
      'Whose webhooks they are, or how they are signed: `standard-webhooks`, `hmac`, `bearer` and `basic` are for ' +
      'everybody else. `posthorn` is for POST /webhooks/ingest, once a tenant. It cannot be changed.',
  })
  @OneOf(PROVIDER_NAMES)
  provider!: ProviderName;

  @ApiPropertyOptional({
    type: String,
    example: SECRET_EXAMPLE,
    description:
      'What the provider signs with, at least 16 bytes. Made for you when left out, unless the provider chooses it: stripe, shopify, ' +
      'slack, twilio, svix.',
  })
  @MayBeLeftOut()
  @IsString({ message: 'must be a string' })
  secret?: string;
}

@OptionalBody()
@ApiSchema({ name: 'RotateSourceSecretRequest' })
export class RotateSourceSecretDto {
  @ApiPropertyOptional({
    type: String,
    example: SECRET_EXAMPLE,
    description: 'The new secret; made for you when left out, unless the provider chooses it.',
  })
  @MayBeLeftOut()
  @IsString({ message: 'must be a string' })
  secret?: string;

  @ApiPropertyOptional({
    minimum: 0,
    maximum: MAX_OVERLAP_SECONDS,
    default: 86_400,
    example: 86_400,
    description: 'How long what is signed with the old secret is taken as well, in seconds.',
  })
  @MayBeLeftOut()
  @Min(0)
  @Max(MAX_OVERLAP_SECONDS)
  @IsInt({ message: 'must be a whole number of seconds' })
  overlap_seconds: number = 86_400;
}
