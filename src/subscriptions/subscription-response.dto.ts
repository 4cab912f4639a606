import { ApiProperty } from '@nestjs/swagger';
import { SECRET_FORMATS, secretFormat, type SecretFormat } from '../domain/signing-secret.js';
import { type Verification, VERIFICATIONS } from '../domain/target-verification.js';
import { PageResponse } from '../http/paging.dto.js';
import { RateLimit, SubscriptionEntity } from '../persistence/entities/subscription.entity.js';
import { RETRY_POLICY } from './retry-policy.schema.js';
import { maskedHeaders } from './subscription-headers.js';
import { secretWarnings } from './subscription-rules.js';
import { RateLimitDto } from './subscription.dto.js';

const SECRET_EXAMPLE = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD4m3pN5Qz8wY=';

const FORMAT_DESCRIPTION =
  '`base64`: the key is what follows `whsec_`, decoded; the libraries of Standard Webhooks take the secret as it is. ' +
  '`raw`: the key is the characters of the secret; those libraries take it as `whsec_` and the base64 of its characters.';

class WarningResponse {
  @ApiProperty({ example: 'secret' })
  path!: string;

  @ApiProperty({ example: 'looks like a key in hexadecimal, and is not decoded …' })
  message!: string;
}

/** What the caller may see: the values of headers are often credentials of the subscriber. */
export interface Shown {
  showsHeaders: boolean;
}

export class SubscriptionResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  id: string;

  @ApiProperty({ example: 'https://example.com/hooks' })
  target_url: string;

  @ApiProperty({ type: [String], example: ['user.*', 'order.created'] })
  event_types: string[];

  @ApiProperty({ example: true })
  is_active: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Why Posthorn itself switched it off, for example after an answer of 410 Gone.',
  })
  disabled_reason: string | null;

  @ApiProperty({ type: 'object', nullable: true, example: null, additionalProperties: true })
  filter: null;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { 'X-Tenant': 'acme' },
    description: 'Each value is `***` for a key without the scope `subscriptions:write` or `admin`.',
  })
  headers: Record<string, string>;

  @ApiProperty({
    ...RETRY_POLICY,
    example: 'standard',
    description: 'As it was given. Null: the configured default.',
  })
  retry_policy: unknown;

  @ApiProperty({ type: Number, nullable: true, example: 10_000 })
  timeout_ms: number | null;

  @ApiProperty({ type: RateLimitDto, nullable: true })
  rate_limit: RateLimit | null;

  @ApiProperty({ type: Number, nullable: true, example: 10 })
  max_concurrency: number | null;

  @ApiProperty({ enum: ['none'], enumName: 'Ordering', example: 'none' })
  ordering: 'none';

  @ApiProperty({ type: String, nullable: true, example: 'Billing' })
  description: string | null;

  @ApiProperty({ type: 'object', additionalProperties: true, example: { team: 'billing' } })
  metadata: Record<string, unknown>;

  @ApiProperty({
    enum: VERIFICATIONS,
    enumName: 'TargetVerification',
    example: 'not_required',
    description:
      'Whether its target has answered the challenge that the operator may require. Deliveries wait for it.',
  })
  verification: Verification;

  @ApiProperty({ type: String, nullable: true, example: null, description: 'Why it failed.' })
  verification_reason: string | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  verification_at: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  created_at: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  updated_at: string;

  constructor(row: SubscriptionEntity, { showsHeaders }: Shown = { showsHeaders: true }) {
    this.id = row.id;
    this.target_url = row.targetUrl;
    this.event_types = row.eventTypes;
    this.is_active = row.isActive;
    this.disabled_reason = row.disabledReason;
    this.filter = null;
    this.headers = showsHeaders ? row.headers : maskedHeaders(row.headers);
    this.retry_policy = row.retryPolicy;
    this.timeout_ms = row.timeoutMs;
    this.rate_limit = row.rateLimit;
    this.max_concurrency = row.maxConcurrency;
    this.ordering = 'none';
    this.description = row.description;
    this.metadata = row.metadata;
    this.verification = row.verification;
    this.verification_reason = row.verificationReason;
    this.verification_at = row.verificationAt?.toISOString() ?? null;
    this.created_at = row.createdAt.toISOString();
    this.updated_at = row.updatedAt.toISOString();
  }

  static from(row: SubscriptionEntity, shown?: Shown): SubscriptionResponse {
    return new SubscriptionResponse(row, shown);
  }
}

/** The answer to a change, which may have given a secret. */
export class ChangedSubscriptionResponse extends SubscriptionResponse {
  @ApiProperty({
    type: [WarningResponse],
    example: [],
    description: 'What is accepted and probably not meant, such as a secret that looks like an encoded key.',
  })
  warnings: WarningResponse[];

  /** @param givenSecret undefined where it stays as it was */
  constructor(row: SubscriptionEntity, givenSecret: string | undefined) {
    super(row);
    this.warnings = secretWarnings(givenSecret);
  }
}

/** The answer to create and rotate-secret alone. */
export class SubscriptionWithSecretResponse extends ChangedSubscriptionResponse {
  @ApiProperty({ example: SECRET_EXAMPLE })
  secret: string;

  @ApiProperty({
    enum: SECRET_FORMATS,
    enumName: 'SecretFormat',
    example: 'base64',
    description: FORMAT_DESCRIPTION,
  })
  secret_format: SecretFormat;

  constructor(row: SubscriptionEntity, secret: string) {
    super(row, secret);
    this.secret = secret;
    this.secret_format = secretFormat(secret);
  }
}

export class PreviousSecretResponse {
  @ApiProperty({ example: SECRET_EXAMPLE })
  secret!: string;

  @ApiProperty({ enum: SECRET_FORMATS, enumName: 'SecretFormat', example: 'base64' })
  secret_format!: SecretFormat;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  expires_at!: string;

  static from(secret: string, until: Date): PreviousSecretResponse {
    return { secret, secret_format: secretFormat(secret), expires_at: until.toISOString() };
  }
}

export class SecretResponse {
  @ApiProperty({ example: SECRET_EXAMPLE })
  secret: string;

  @ApiProperty({
    enum: SECRET_FORMATS,
    enumName: 'SecretFormat',
    example: 'base64',
    description: FORMAT_DESCRIPTION,
  })
  secret_format: SecretFormat;

  @ApiProperty({ type: [WarningResponse], example: [], description: 'As in the answer to create.' })
  warnings: WarningResponse[];

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'The one before, while it signs as well.',
  })
  previous_secret: string | null;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  previous_secret_expires_at: string | null;

  @ApiProperty({
    type: [PreviousSecretResponse],
    description: 'All that sign beside it, the newest first: up to 4.',
  })
  previous_secrets: PreviousSecretResponse[];

  /** @param previous those that sign beside it, the newest first */
  constructor(secret: string, previous: PreviousSecretResponse[]) {
    const [newest] = previous;
    this.secret = secret;
    this.secret_format = secretFormat(secret);
    this.warnings = secretWarnings(secret);
    this.previous_secret = newest?.secret ?? null;
    this.previous_secret_expires_at = newest?.expires_at ?? null;
    this.previous_secrets = previous;
  }
}

export class SubscriptionPageResponse extends PageResponse {
  @ApiProperty({ type: [SubscriptionResponse] })
  data!: SubscriptionResponse[];
}
