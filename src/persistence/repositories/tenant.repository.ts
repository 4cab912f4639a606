import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { IsNull, LessThan, Repository } from 'typeorm';
import { ApiKeyEntity } from '../entities/api-key.entity.js';
import { SourceEntity } from '../entities/source.entity.js';
import { SubscriptionEntity } from '../entities/subscription.entity.js';
import { TenantEntity } from '../entities/tenant.entity.js';
import { Page, PageRequest, toPage } from '../page.js';

@Injectable()
export class TenantRepository {
  constructor(@InjectRepository(TenantEntity) private readonly tenants: Repository<TenantEntity>) {}

  /** A tenant and its first key, both or neither. */
  async create(tenant: TenantEntity, key: ApiKeyEntity): Promise<void> {
    await this.tenants.manager.transaction(async (manager) => {
      await manager.insert(TenantEntity, tenant);
      await manager.insert(ApiKeyEntity, key);
    });
  }

  find(id: string): Promise<TenantEntity | null> {
    return this.tenants.findOneBy({ id });
  }

  /** All tenants, newest first. */
  async list({ limit, cursor }: PageRequest): Promise<Page<TenantEntity>> {
    const rows = await this.tenants.find({
      where: cursor === null ? {} : { id: LessThan(cursor) },
      order: { id: 'DESC' },
      take: limit + 1,
      comment: 'all tenants: for the operator',
    });
    return toPage(rows, limit);
  }

  async isEmpty(): Promise<boolean> {
    return (await this.tenants.count({ take: 1, comment: 'all tenants: is there any' })) === 0;
  }

  /** Writes the given columns and no other. @returns false when there is no such tenant, or it is being deleted */
  async update(id: string, changes: Partial<TenantEntity>): Promise<boolean> {
    const { affected } = await this.tenants.update(
      { id, deletionRequestedAt: IsNull() },
      { ...changes, updatedAt: new Date() },
    );
    return affected === 1;
  }

  /**
   * Ends a tenant: its keys, subscriptions and sources are gone with the commit; what there is more of is deleted in the
   * background (TenantRemoval).
   */
  async requestDeletion(id: string): Promise<void> {
    await this.tenants.manager.transaction(async (manager) => {
      await manager.update(
        TenantEntity,
        { id, deletionRequestedAt: IsNull() },
        // The clock of Postgres, by which the time until the end is measured as well.
        { deletionRequestedAt: () => 'now()', updatedAt: () => 'now()' },
      );
      await manager.delete(ApiKeyEntity, { tenantId: id });
      await manager.delete(SubscriptionEntity, { tenantId: id });
      await manager.delete(SourceEntity, { tenantId: id });
    });
  }
}
