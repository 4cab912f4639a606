import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import type { CreationSeed } from '../domain/creation-seed.js';
import { invalidRequest, notFound, Problem } from '../domain/errors.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { ApiKeyEntity } from '../persistence/entities/api-key.entity.js';
import { KeyCache } from '../persistence/key-cache.js';
import { ReadSide } from '../persistence/read-side.js';
import { ApiKeyRepository } from '../persistence/repositories/api-key.repository.js';
import { generateApiKey, storedKey } from './api-key.js';
import { ApiKeyPageResponse, ApiKeyResponse, CreateApiKeyDto, CreatedApiKeyResponse } from './api-key.dto.js';

/** A tenant's API keys. Each method that takes an id throws Problem not_found when it is not the tenant's. */
@Injectable()
export class ApiKeyService {
  constructor(
    private readonly keys: ApiKeyRepository,
    private readonly reads: ReadSide,
    private readonly cache: KeyCache,
    private readonly config: Config,
  ) {}

  /**
   * @param maker the id of the key with which it is made; null: the operator makes it
   * @throws Problem conflict when the tenant has as many keys as it may, and invalid_request when it would have expired
   *   already, or would outlive its maker
   */
  async create(
    tenantId: string,
    { name, scopes, expires_at }: CreateApiKeyDto,
    maker: string | null,
    seed: CreationSeed,
  ): Promise<CreatedApiKeyResponse> {
    const key = generateApiKey(seed.bytes('key'));
    const made = seed.mayExist ? await this.keys.find(tenantId, seed.id()) : null;
    if (made) return new CreatedApiKeyResponse(made, key);
    const now = new Date(systemClock.now());
    const expiresAt = expires_at == null ? null : new Date(expires_at);
    if (expiresAt !== null && expiresAt <= now) {
      throw invalidRequest([{ path: 'expires_at', message: 'must be in the future' }]);
    }
    const latest = await this.latestExpiry(tenantId, maker);
    if (outlives(expiresAt, latest)) {
      const message = `must be given, and no later than ${latest.toISOString()}, when the key that asks for this expires`;
      throw invalidRequest([{ path: 'expires_at', message }]);
    }
    const createdAt = new Date(seed.createdAtMs);
    const stored = storedKey(key, { id: seed.id(), tenantId, name, scopes, expiresAt }, createdAt);
    const { tenantMaxApiKeys } = this.config;
    if (!(await this.keys.insert(stored, tenantMaxApiKeys))) throw tooManyKeys(tenantMaxApiKeys);
    return new CreatedApiKeyResponse(stored, key);
  }

  /** Newest first. */
  async list(tenantId: string, query: PageQuery): Promise<ApiKeyPageResponse> {
    const page = await this.reads.settings.apiKeys.list(tenantId, PageQuery.toRequest(query));
    return pageResponse(page, (row) => ApiKeyResponse.from(row));
  }

  async get(tenantId: string, id: string): Promise<ApiKeyResponse> {
    return ApiKeyResponse.from(await this.find(tenantId, id, this.reads.settings.apiKeys));
  }

  /** Every process refuses it from a moment later on. */
  async revoke(tenantId: string, id: string): Promise<void> {
    if (!(await this.keys.delete(tenantId, id))) throw notFound('API key', id);
    this.cache.forget(tenantId);
  }

  /**
   * Makes a new key with the name, scopes and expiry of the old one, which ends after `overlapSeconds`.
   * @param maker the id of the key that asks for it
   * @throws Problem conflict when the old one has expired, or was rotated before, or the tenant has as many keys as it may, and invalid_request when the new one
   *   would outlive its maker
   */
  async rotate(
    tenantId: string,
    id: string,
    overlapSeconds: number,
    { maker, seed }: { maker: string; seed: CreationSeed },
  ): Promise<CreatedApiKeyResponse> {
    const key = generateApiKey(seed.bytes('key'));
    const made = seed.mayExist ? await this.keys.find(tenantId, seed.id()) : null;
    if (made) return new CreatedApiKeyResponse(made, key);
    const old = await this.find(tenantId, id);
    const latest = await this.latestExpiry(tenantId, maker);
    if (outlives(old.expiresAt, latest)) {
      const message =
        `names a key that lives longer than the one that asks for this, which expires at ${latest.toISOString()}: ` +
        'ask with one that lives as long';
      throw invalidRequest([{ path: 'id', message }]);
    }
    const stored = storedKey(key, { ...old, id: seed.id() }, new Date(seed.createdAtMs));
    const { tenantMaxApiKeys } = this.config;
    const result = await this.keys.replace(stored, id, overlapSeconds, tenantMaxApiKeys);
    if (result === 'too many') throw tooManyKeys(tenantMaxApiKeys);
    if (result === 'ended') throw notRotated(await this.find(tenantId, id));
    this.cache.forget(tenantId);
    return new CreatedApiKeyResponse(stored, key);
  }

  /** When what a key makes has to end at the latest: a key that ends must not go on under another name. Null: never. */
  private async latestExpiry(tenantId: string, maker: string | null): Promise<Date | null> {
    if (maker === null) return null;
    const key = await this.keys.find(tenantId, maker);
    if (!key) throw new Problem('unauthorized', 'This API key has just been revoked.');
    return key.expiresAt;
  }

  private async find(
    tenantId: string,
    id: string,
    keys: Pick<ApiKeyRepository, 'find'> = this.keys,
  ): Promise<ApiKeyEntity> {
    const key = await keys.find(tenantId, id);
    if (!key) throw notFound('API key', id);
    return key;
  }
}

function outlives(expiresAt: Date | null, latest: Date | null): latest is Date {
  return latest !== null && (expiresAt === null || expiresAt > latest);
}

function tooManyKeys(most: number): Problem {
  return new Problem(
    'conflict',
    `This tenant has ${most} API keys that have not expired, and may not have more. Revoke those that are not used ` +
      '(last_used_at of GET /api-keys says when they were), or ask the operator of the service (TENANT_MAX_API_KEYS).',
  );
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
