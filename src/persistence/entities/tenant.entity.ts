import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The owner of everything else. */
@Entity({ name: 'tenant' })
export class TenantEntity {
  @PrimaryColumn({ type: 'uuid', name: 'id' })
  id!: string;

  @Column({ type: 'text', name: 'name' })
  name!: string;

  /** It may do nothing, and its deliveries wait. */
  @Column({ type: 'boolean', name: 'suspended' })
  suspended!: boolean;

  /** Null, like the burst: the configured limit. */
  @Column({ type: 'float8', nullable: true, name: 'rate_per_second' })
  ratePerSecond!: number | null;

  @Column({ type: 'integer', nullable: true, name: 'rate_burst' })
  rateBurst!: number | null;

  /** Null: the configured time, which is also the longest. */
  @Column({ type: 'float8', nullable: true, name: 'retention_hours' })
  retentionHours!: number | null;

  /** CIDRs from which its keys may be used; empty: from everywhere. */
  @Column({ type: 'text', array: true, name: 'allowed_ips' })
  allowedIps!: string[];

  /** It can do nothing any more, and all that it owns is being deleted. */
  @Column({ type: 'timestamptz', nullable: true, name: 'deletion_requested_at' })
  deletionRequestedAt!: Date | null;

  @Column({ type: 'timestamptz', name: 'created_at' })
  createdAt!: Date;

  @Column({ type: 'timestamptz', name: 'updated_at' })
  updatedAt!: Date;
}
