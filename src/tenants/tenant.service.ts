import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { rangeErrors } from '../domain/address-ranges.js';
import { systemClock } from '../domain/clock.js';
import { CreationSeed } from '../domain/creation-seed.js';
import { invalidRequest, notFound, Problem } from '../domain/errors.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { ChangeFeed } from '../persistence/change-feed.js';
import { TenantEntity } from '../persistence/entities/tenant.entity.js';
import { ReadSide } from '../persistence/read-side.js';
import { TenantRepository } from '../persistence/repositories/tenant.repository.js';
import { generateApiKey, storedKey } from './api-key.js';
import { ApiKeyPageResponse, CreatedApiKeyResponse, CreateApiKeyDto } from './api-key.dto.js';
import { ApiKeyService } from './api-key.service.js';
import { CreatedTenantResponse, CreateTenantDto, TenantPatchDto, TenantResponse } from './tenant.dto.js';

const FIRST_KEY_NAME = 'first key';

/** Tenants, for the operator. Each method that takes an id throws Problem not_found when there is no such tenant. */
@Injectable()
export class TenantService {
  constructor(
    private readonly tenants: TenantRepository,
    private readonly reads: ReadSide,
    private readonly apiKeys: ApiKeyService,
    private readonly changes: ChangeFeed,
    private readonly config: Config,
  ) {}

  /** With the key that it begins with. @throws Problem invalid_request */
  async create(fields: CreateTenantDto, seed: CreationSeed): Promise<CreatedTenantResponse> {
    const apiKey = generateApiKey(seed.bytes('key'));
    const made = seed.mayExist ? await this.tenants.find(seed.id()) : null;
    if (made) return new CreatedTenantResponse(made, apiKey);
    this.check(fields);
    return this.createWithKey(fields, apiKey, seed);
  }

  /**
   * Makes the tenant of a new installation, whose key is already kept elsewhere.
   * @returns false, with nothing done, when there is a tenant already
   */
  async createFirst(name: string, apiKey: string): Promise<boolean> {
    if (!(await this.tenants.isEmpty())) return false;
    await this.createWithKey({ name }, apiKey, CreationSeed.fresh(systemClock.now()));
    return true;
  }

  /** All tenants, newest first. */
  async list(query: PageQuery) {
    const page = await this.reads.settings.tenants.list(PageQuery.toRequest(query));
    return pageResponse(page, (row) => TenantResponse.from(row));
  }

  async get(id: string): Promise<TenantResponse> {
    return TenantResponse.from(await this.find(id, this.reads.settings.tenants));
  }

  /**
   * Changes the given fields and no other. What it means for requests holds in every process within a second; the
   * deliveries of a tenant that is not suspended any more are found by the next sweep.
   * @throws Problem invalid_request; conflict while it is being deleted
   */
  async change(id: string, fields: TenantPatchDto): Promise<TenantResponse> {
    this.check(fields);
    if (!(await this.tenants.update(id, columnsOf(fields)))) throw beingDeleted(await this.find(id));
    this.changes.announce({ table: 'tenant', tenantId: id });
    return TenantResponse.from(await this.find(id));
  }

  /** Its keys end with this; what it owns is deleted in the background, and the tenant itself at last. */
  async delete(id: string): Promise<TenantResponse> {
    await this.find(id);
    await this.tenants.requestDeletion(id);
    this.changes.announce({ table: 'tenant', tenantId: id });
    return TenantResponse.from(await this.find(id));
  }

  /** A further key, for a tenant that has lost its own. @throws Problem invalid_request; conflict as in change */
  async createApiKey(
    id: string,
    fields: CreateApiKeyDto,
    seed: CreationSeed,
  ): Promise<CreatedApiKeyResponse> {
    const tenant = await this.find(id);
    if (tenant.deletionRequestedAt !== null) throw beingDeleted(tenant);
    return this.apiKeys.create(id, fields, null, seed);
  }

  async listApiKeys(id: string, query: PageQuery): Promise<ApiKeyPageResponse> {
    const page = await this.apiKeys.list(id, query);
    await this.find(id);
    return page;
  }

  async revokeApiKey(id: string, keyId: string): Promise<void> {
    await this.find(id);
    return this.apiKeys.revoke(id, keyId);
  }

  private async find(
    id: string,
    tenants: Pick<TenantRepository, 'find'> = this.tenants,
  ): Promise<TenantEntity> {
    const tenant = await tenants.find(id);
    if (!tenant) throw notFound('tenant', id);
    return tenant;
  }

  private async createWithKey(
    fields: CreateTenantDto,
    apiKey: string,
    seed: CreationSeed,
  ): Promise<CreatedTenantResponse> {
    const now = new Date(seed.createdAtMs);
    const tenant = Object.assign(new TenantEntity(), {
      id: seed.id(),
      suspended: false,
      ratePerSecond: null,
      rateBurst: null,
      retentionHours: null,
      allowedIps: [],
      deletionRequestedAt: null,
      ...columnsOf(fields),
      createdAt: now,
      updatedAt: now,
    });
    const key = {
      id: seed.id('first key'),
      tenantId: tenant.id,
      name: FIRST_KEY_NAME,
      scopes: ['admin'] as const,
      expiresAt: null,
    };
    await this.tenants.create(tenant, storedKey(apiKey, key, now));
    return new CreatedTenantResponse(tenant, apiKey);
  }

  private check({ retention_hours, allowed_ips }: TenantPatchDto): void {
    const { retentionHours } = this.config;
    const errors = [
      ...(retention_hours != null && retention_hours > retentionHours
        ? [
            {
              path: 'retention_hours',
              message: `must be at most ${retentionHours}, the RETENTION_HOURS of the service`,
            },
          ]
        : []),
      ...rangeErrors('allowed_ips', allowed_ips ?? []),
    ];
    if (errors.length > 0) throw invalidRequest(errors);
  }
}

/** The columns that a checked request gives; what it leaves out is not among them. */
function columnsOf(fields: TenantPatchDto): Partial<TenantEntity> {
  const { rate_limit: rate } = fields;
  const columns = {
    name: fields.name,
    suspended: fields.suspended,
    retentionHours: fields.retention_hours,
    allowedIps: fields.allowed_ips,
    ...(rate !== undefined && { ratePerSecond: rate?.per_second ?? null, rateBurst: rate?.burst ?? null }),
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

const beingDeleted = ({ deletionRequestedAt }: TenantEntity): Problem =>
  new Problem(
    'conflict',
    `This tenant is being deleted since ${deletionRequestedAt?.toISOString() ?? 'a moment ago'}.`,
  );
