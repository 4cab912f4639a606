import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { SealedSecret } from '../../domain/encryption.js';
import type { Verification } from '../../domain/target-verification.js';

/** At most `limit` deliveries in any `period_seconds`. */
export interface RateLimit {
  limit: number;
  period_seconds: number;
}

/** A secret that a rotation replaced, and until when it is valid beside its successors (RFC 3339). */
export interface OlderSecret {
  secret: SealedSecret;
  expires_at: string;
}

/** A target URL, the events it wants, and the rules of its lane. */
@Entity({ name: 'subscription' })
export class SubscriptionEntity {
  @PrimaryColumn({ type: 'uuid', name: 'id' })
  id!: string;

  @Column({ type: 'uuid', name: 'tenant_id' })
  tenantId!: string;

  @Column({ type: 'text', name: 'target_url' })
  targetUrl!: string;

  /** As AddressRules.hostOf gives it. */
  @Column({ type: 'text', nullable: true, name: 'target_host' })
  targetHost!: string | null;

  /** Patterns; empty means every event type. */
  @Column({ type: 'text', array: true, name: 'event_types' })
  eventTypes!: string[];

  @Column({ type: 'boolean', name: 'is_active' })
  isActive!: boolean;

  /** Why Posthorn itself switched it off, for example after a 410. */
  @Column({ type: 'text', nullable: true, name: 'disabled_reason' })
  disabledReason!: string | null;

  /** Encrypted; SubscriptionRepository writes it, and reads it. */
  @Column({ type: 'text', name: 'secret' })
  secret!: SealedSecret;

  /** Encrypted. Signs as well until it expires, so that subscribers can change over. */
  @Column({ type: 'text', nullable: true, name: 'previous_secret' })
  previousSecret!: SealedSecret | null;

  @Column({ type: 'timestamptz', nullable: true, name: 'previous_secret_expires_at' })
  previousSecretExpiresAt!: Date | null;

  /** Those before the previous one that have not expired yet, the newest last; none while there is no previous one. */
  @Column({ type: 'jsonb', name: 'older_secrets' })
  olderSecrets!: OlderSecret[];

  @Column({ type: 'jsonb', name: 'headers' })
  headers!: Record<string, string>;

  /** As the user gave it; null means the configured default. */
  @Column({ type: 'jsonb', nullable: true, name: 'retry_policy' })
  retryPolicy!: unknown;

  @Column({ type: 'integer', nullable: true, name: 'timeout_ms' })
  timeoutMs!: number | null;

  @Column({ type: 'jsonb', nullable: true, name: 'rate_limit' })
  rateLimit!: RateLimit | null;

  @Column({ type: 'integer', nullable: true, name: 'max_concurrency' })
  maxConcurrency!: number | null;

  @Column({ type: 'text', nullable: true, name: 'description' })
  description!: string | null;

  @Column({ type: 'jsonb', name: 'metadata' })
  metadata!: Record<string, unknown>;

  @Column({ type: 'text', name: 'verification' })
  verification!: Verification;

  /** Why the target is not verified. */
  @Column({ type: 'text', nullable: true, name: 'verification_reason' })
  verificationReason!: string | null;

  /** Since when it is as it is. */
  @Column({ type: 'timestamptz', nullable: true, name: 'verification_at' })
  verificationAt!: Date | null;

  @Column({ type: 'timestamptz', name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', name: 'updated_at' })
  updatedAt!: Date;
}

/** The secrets of a subscription in plain text. */
export interface PlainSecrets {
  secret: string;
  previousSecret: string | null;
}

/** A subscription to be stored, or parts of one: with its secrets in plain text. */
export type UnsealedSubscription = Omit<SubscriptionEntity, keyof PlainSecrets> & PlainSecrets;
