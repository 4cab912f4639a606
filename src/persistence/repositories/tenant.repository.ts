import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, Repository } from 'typeorm';
import { ApiKeyEntity } from '../entities/api-key.entity.js';
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
    });
    return toPage(rows, limit);
  }

  async isEmpty(): Promise<boolean> {
    return (await this.tenants.count({ take: 1 })) === 0;
  }
}
