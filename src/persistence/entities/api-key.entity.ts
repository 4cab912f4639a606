import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A tenant's key, known by its hash alone. */
@Entity({ name: 'api_key' })
export class ApiKeyEntity {
  @PrimaryColumn({ type: 'uuid', name: 'id' })
  id!: string;

  @Column({ type: 'uuid', name: 'tenant_id' })
  tenantId!: string;

  @Column({ type: 'text', name: 'name' })
  name!: string;

  @Column({ type: 'bytea', name: 'key_hash' })
  keyHash!: Buffer;

  /** The first characters of the key, to recognise it by. */
  @Column({ type: 'text', name: 'prefix' })
  prefix!: string;

  @Column({ type: 'text', name: 'last_four' })
  lastFour!: string;

  @Column({ type: 'timestamptz', name: 'created_at' })
  createdAt!: Date;
}
