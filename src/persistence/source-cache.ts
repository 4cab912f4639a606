import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { AddressRanges } from '../domain/address-ranges.js';
import type { ProviderName } from '../domain/providers/provider-names.js';
import type { SourceSettings } from '../domain/providers/source-settings.js';
import type { RateLimitRule } from '../domain/token-bucket.js';
import { ChangeFeed } from './change-feed.js';
import { LookUpCache, readEach } from './look-up-cache.js';
import { ServedSourceRow, SourceRepository } from './repositories/source.repository.js';

const MAX_NAMES_A_QUERY = 500;
/** What changes what is cached here; subscriptions and keys change more often. */
const TABLES = ['source', 'tenant'];

/** A source as its endpoint wants it, with what holds for its tenant. */
export interface Source {
  id: string;
  tenantId: string;
  provider: ProviderName;
  settings: SourceSettings;
  isActive: boolean;
  isTenantSuspended: boolean;
  /** Null: it may be used from everywhere. */
  allowedIps: AddressRanges | null;
  rate: RateLimitRule;
  /**
   * The secrets that verify at this time, the present one first. Decrypted when they are first asked for.
   * @throws UndecryptableSecret, the same one each time
   */
  secrets(nowMs: number): string[];
}

type Found = Source | undefined;

/**
 * The sources of the tenants in use, without a query when warm; kept right by {@link ChangeFeed}. Those of a tenant
 * that is being deleted are not there.
 */
@Injectable()
export class SourceCache {
  private readonly byId: LookUpCache<Source>;
  private readonly forIngest: LookUpCache<Source>;

  constructor(
    private readonly sources: SourceRepository,
    private readonly config: Config,
    changes: ChangeFeed,
  ) {
    const options = { maxNamesAQuery: MAX_NAMES_A_QUERY, tables: TABLES };
    const read = (row: ServedSourceRow): Source => this.toSource(row);
    this.byId = new LookUpCache(changes, {
      load: async (ids) => readEach(await sources.findServed(ids), ({ id }) => id, read),
      ...options,
    });
    this.forIngest = new LookUpCache(changes, {
      load: async (ids) => readEach(await sources.findServedForIngest(ids), (row) => row.tenant_id, read),
      ...options,
    });
  }

  /**
   * @param sourceId a UUID in small letters
   * @returns undefined for what is no source, or one of a tenant that is being deleted; a promise only when it has to
   *   be looked up
   */
  find(sourceId: string): Found | Promise<Found> {
    return this.byId.find(sourceId);
  }

  /** The tenant's source for POST /webhooks/ingest, as {@link find} gives it. */
  findIngestSource(tenantId: string): Found | Promise<Found> {
    return this.forIngest.find(tenantId);
  }

  /** Called at once by what changed a source in this process; other processes hear through the feed. */
  forget(tenantId: string): void {
    this.byId.forget(tenantId);
    this.forIngest.forget(tenantId);
  }

  private toSource(row: ServedSourceRow): Source {
    const { rate_per_second: perSecond, rate_burst: burst } = row;
    return {
      id: row.id,
      tenantId: row.tenant_id,
      provider: row.provider,
      settings: row.settings,
      isActive: row.is_active,
      isTenantSuspended: row.suspended,
      allowedIps: row.allowed_ips.length === 0 ? null : AddressRanges.parse(row.allowed_ips),
      rate: perSecond === null || burst === null ? this.config.tenantRate : { perSecond, burst },
      secrets: this.sources.secretsInUse(row),
    };
  }
}
