import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Scope } from '../../domain/scope.js';

/** A tenant's key, known by its hash alone. */
@Entity({ name: 'api_key' })
export class ApiKeyEntity {
  @PrimaryColumn({ type: 'uuid', name: 'id' })
  id!: string;

  @Column({ type: 'uuid', name: 'tenant_id' })
  tenantId!: string;

  @Column({ type: 'text', name: 'name' })
  name!: string;

  @Column({ type: 'text', array: true, name: 'scopes' })
  scopes!: Scope[];

  @Column({ type: 'bytea', name: 'key_hash' })
  keyHash!: Buffer;

  /** The first characters of the key, to recognise it by. */
  @Column({ type: 'text', name: 'prefix' })
  prefix!: string;

  @Column({ type: 'text', name: 'last_four' })
  lastFour!: string;

  /** From then on it is no key any more; null: never. */
  @Column({ type: 'timestamptz', nullable: true, name: 'expires_at' })
  expiresAt!: Date | null;

  /** To half a minute; null: never. */
  @Column({ type: 'timestamptz', nullable: true, name: 'last_used_at' })
  lastUsedAt!: Date | null;

  /** The key that a rotation made in its place; null: none. */
  @Column({ type: 'uuid', nullable: true, name: 'replaced_by' })
  replacedBy!: string | null;

  @Column({ type: 'timestamptz', name: 'created_at' })
  createdAt!: Date;
}
