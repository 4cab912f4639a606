import { Injectable } from '@nestjs/common';
import { systemClock } from '../domain/clock.js';
import { notFound } from '../domain/errors.js';
import { uuidV7 } from '../domain/uuid-v7.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { TenantEntity } from '../persistence/entities/tenant.entity.js';
import { TenantRepository } from '../persistence/repositories/tenant.repository.js';
import { generateApiKey, storedKey } from './api-key.js';
import { CreatedTenantResponse, TenantResponse } from './tenant.dto.js';

const FIRST_KEY_NAME = 'first key';

/** Tenants, each with the key that it begins with. */
@Injectable()
export class TenantService {
  constructor(private readonly tenants: TenantRepository) {}

  create(name: string): Promise<CreatedTenantResponse> {
    return this.createWithKey(name, generateApiKey());
  }

  /**
   * Makes the tenant of a new installation, whose key is already kept elsewhere.
   * @returns false, with nothing done, when there is a tenant already
   */
  async createFirst(name: string, apiKey: string): Promise<boolean> {
    if (!(await this.tenants.isEmpty())) return false;
    await this.createWithKey(name, apiKey);
    return true;
  }

  /** All tenants, newest first. */
  async list(query: PageQuery) {
    return pageResponse(await this.tenants.list(PageQuery.toRequest(query)), (row) =>
      TenantResponse.from(row),
    );
  }

  /** @throws Problem not_found */
  async get(id: string): Promise<TenantResponse> {
    const tenant = await this.tenants.find(id);
    if (!tenant) throw notFound('tenant', id);
    return TenantResponse.from(tenant);
  }

  private async createWithKey(name: string, apiKey: string): Promise<CreatedTenantResponse> {
    const now = new Date(systemClock.now());
    const tenant = Object.assign(new TenantEntity(), {
      id: uuidV7(now.getTime()),
      name,
      createdAt: now,
      updatedAt: now,
    });
    await this.tenants.create(tenant, storedKey(tenant.id, FIRST_KEY_NAME, apiKey, now));
    return new CreatedTenantResponse(tenant, apiKey);
  }
}
