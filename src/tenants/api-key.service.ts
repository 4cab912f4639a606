import { Injectable } from '@nestjs/common';
import { systemClock } from '../domain/clock.js';
import { invalidRequest, notFound, Problem } from '../domain/errors.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { ApiKeyEntity } from '../persistence/entities/api-key.entity.js';
import { KeyCache } from '../persistence/key-cache.js';
import { ApiKeyRepository } from '../persistence/repositories/api-key.repository.js';
import { generateApiKey, storedKey } from './api-key.js';
import { ApiKeyPageResponse, ApiKeyResponse, CreateApiKeyDto, CreatedApiKeyResponse } from './api-key.dto.js';

/** A tenant's API keys. Each method that takes an id throws Problem not_found when it is not the tenant's. */
@Injectable()
export class ApiKeyService {
  constructor(
    private readonly keys: ApiKeyRepository,
    private readonly cache: KeyCache,
  ) {}

  /** @throws Problem invalid_request when it would have expired already */
  async create(
    tenantId: string,
    { name, scopes, expires_at }: CreateApiKeyDto,
  ): Promise<CreatedApiKeyResponse> {
    const now = new Date(systemClock.now());
    const expiresAt = expires_at == null ? null : new Date(expires_at);
    if (expiresAt !== null && expiresAt <= now) {
      throw invalidRequest([{ path: 'expires_at', message: 'must be in the future' }]);
    }
    const key = generateApiKey();
    const stored = storedKey(key, { tenantId, name, scopes, expiresAt }, now);
    await this.keys.insert(stored);
    return new CreatedApiKeyResponse(stored, key);
  }

  /** Newest first. */
  async list(tenantId: string, query: PageQuery): Promise<ApiKeyPageResponse> {
    return pageResponse(await this.keys.list(tenantId, PageQuery.toRequest(query)), (row) =>
      ApiKeyResponse.from(row),
    );
  }

  async get(tenantId: string, id: string): Promise<ApiKeyResponse> {
    return ApiKeyResponse.from(await this.find(tenantId, id));
  }

  /** Every process refuses it from a moment later on. */
  async revoke(tenantId: string, id: string): Promise<void> {
    if (!(await this.keys.delete(tenantId, id))) throw notFound('API key', id);
    this.cache.forget(tenantId);
  }

  /**
   * Makes a new key with the name, scopes and expiry of the old one, which ends after `overlapSeconds`.
   * @throws Problem conflict when the old one has expired, or was rotated before
   */
  async rotate(tenantId: string, id: string, overlapSeconds: number): Promise<CreatedApiKeyResponse> {
    const old = await this.find(tenantId, id);
    const now = new Date(systemClock.now());
    const key = generateApiKey();
    const stored = storedKey(key, old, now);
    if (!(await this.keys.replace(stored, id, overlapSeconds))) {
      throw notRotated(await this.find(tenantId, id));
    }
    this.cache.forget(tenantId);
    return new CreatedApiKeyResponse(stored, key);
  }

  private async find(tenantId: string, id: string): Promise<ApiKeyEntity> {
    const key = await this.keys.find(tenantId, id);
    if (!key) throw notFound('API key', id);
    return key;
  }
}

/** The second rotation of a key would take over the end that the first one has set for it. */
function notRotated({ replacedBy }: ApiKeyEntity): Problem {
  return replacedBy === null
    ? new Problem('conflict', 'This key has expired. Create a new one.')
    : new Problem(
        'conflict',
        `This key has been rotated already. If its successor was lost, rotate that one: ${replacedBy}.`,
      );
}
