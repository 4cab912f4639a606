import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { SealedSecret } from '../../domain/encryption.js';
import type { ProviderName } from '../../domain/providers/provider-names.js';
import type { SourceSettings } from '../../domain/providers/source-settings.js';
import type { OlderSecret, PlainSecrets } from './subscription.entity.js';

/** An address for the webhooks of a third party: whose they are, and how they are verified. */
@Entity({ name: 'source' })
export class SourceEntity {
  @PrimaryColumn({ type: 'uuid', name: 'id' })
  id!: string;

  @Column({ type: 'uuid', name: 'tenant_id' })
  tenantId!: string;

  @Column({ type: 'text', name: 'name' })
  name!: string;

  @Column({ type: 'text', name: 'provider' })
  provider!: ProviderName;

  /** As they were given; what is not there has the provider's default. */
  @Column({ type: 'jsonb', name: 'settings' })
  settings!: SourceSettings;

  /** Encrypted; SourceRepository writes it, and reads it. */
  @Column({ type: 'text', name: 'secret' })
  secret!: SealedSecret;

  /** Encrypted. Verifies as well until it expires, so that the provider can change over. */
  @Column({ type: 'text', nullable: true, name: 'previous_secret' })
  previousSecret!: SealedSecret | null;

  @Column({ type: 'timestamptz', nullable: true, name: 'previous_secret_expires_at' })
  previousSecretExpiresAt!: Date | null;

  /** Those before the previous one that have not expired yet, the newest last; none while there is no previous one. */
  @Column({ type: 'jsonb', name: 'older_secrets' })
  olderSecrets!: OlderSecret[];

  @Column({ type: 'boolean', name: 'is_active' })
  isActive!: boolean;

  /** CIDRs; empty: from everywhere. */
  @Column({ type: 'text', array: true, name: 'allowed_ips' })
  allowedIps!: string[];

  @Column({ type: 'text', nullable: true, name: 'description' })
  description!: string | null;

  @Column({ type: 'timestamptz', name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', name: 'updated_at' })
  updatedAt!: Date;
}

/** A source to be stored, or parts of one: with its secrets in plain text. */
export type UnsealedSource = Omit<SourceEntity, keyof PlainSecrets> & PlainSecrets;
