import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { AddressRanges } from '../domain/address-ranges.js';
import type { ProviderName } from '../domain/providers/provider-names.js';
import type { SourceSettings } from '../domain/providers/source-settings.js';
import type { RateLimitRule } from '../domain/token-bucket.js';
import { Batcher } from './batcher.js';
import { ChangeFeed } from './change-feed.js';
import { ServedSourceRow, SourceRepository } from './repositories/source.repository.js';

const MAX_AGE_MS = 60_000;
/** Whoever goes on with an id that is nobody's costs a query this often, and not with each request. */
const UNKNOWN_MAX_AGE_MS = 5_000;
const MAX_SOURCES = 10_000;
const MAX_NAMES_A_QUERY = 500;
/** What changes what is cached here; subscriptions and keys change more often. */
const TABLES = new Set(['source', 'tenant']);

/** A source as its door wants it, with what holds for its tenant. */
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
  private readonly byId: LookUps;
  private readonly forIngest: LookUps;

  constructor(
    private readonly sources: SourceRepository,
    private readonly config: Config,
    changes: ChangeFeed,
  ) {
    this.byId = new LookUps(changes, (ids) => this.load(sources.findServed(ids), ({ id }) => id));
    this.forIngest = new LookUps(changes, (ids) =>
      this.load(sources.findServedForIngest(ids), ({ tenant_id }) => tenant_id),
    );
    changes.subscribe(
      ({ table, tenantId }) => {
        if (TABLES.has(table)) this.forget(tenantId);
      },
      () => this.forgetAll(),
    );
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

  /** Called at once by whoever changed a source in this process; other processes hear through the feed. */
  forget(tenantId: string): void {
    this.byId.forget(tenantId);
    this.forIngest.forget(tenantId);
  }

  private forgetAll(): void {
    this.byId.forgetAll();
    this.forIngest.forgetAll();
  }

  private async load(
    rows: Promise<ServedSourceRow[]>,
    nameOf: (row: ServedSourceRow) => string,
  ): Promise<Map<string, Source | Error>> {
    return new Map((await rows).map((row) => [nameOf(row), this.tryToSource(row)]));
  }

  /** A row that cannot be read fails its own requests, and not those that were looked up with it. */
  private tryToSource(row: ServedSourceRow): Source | Error {
    try {
      return this.toSource(row);
    } catch (error) {
      return error as Error;
    }
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

/** Sources by one of their names: their own id, or their tenant's. */
class LookUps {
  private readonly known = new Map<string, { source: Source; loadedAt: number }>();
  /** When each name was found to be nobody's. Apart from the others, so that made-up ones cannot crowd them out. */
  private readonly unknown = new Map<string, number>();
  private generation = 0;
  /** One query at a time for all that was asked for meanwhile: a flood of made-up names takes one connection. */
  private readonly queries: Batcher<string, Found>;

  constructor(
    private readonly changes: ChangeFeed,
    private readonly load: (names: string[]) => Promise<Map<string, Source | Error>>,
  ) {
    this.queries = new Batcher({
      flush: (names) => this.query(names),
      maxWeight: MAX_NAMES_A_QUERY,
      lingerMs: 0,
    });
  }

  find(name: string): Found | Promise<Found> {
    const now = Date.now();
    if (this.changes.isListening) {
      const cached = this.known.get(name);
      if (cached && cached.loadedAt > now - MAX_AGE_MS) return cached.source;
      if ((this.unknown.get(name) ?? 0) > now - UNKNOWN_MAX_AGE_MS) return undefined;
    }
    return this.queries.add(name);
  }

  forget(tenantId: string): void {
    for (const [name, { source }] of this.known) if (source.tenantId === tenantId) this.known.delete(name);
    this.unknown.delete(tenantId);
    this.generation++;
  }

  forgetAll(): void {
    this.known.clear();
    this.unknown.clear();
    this.generation++;
  }

  private async query(names: string[]): Promise<(Found | Error)[]> {
    const { generation } = this;
    const wasListening = this.changes.isListening;
    const found = await this.load([...new Set(names)]);
    // Read while nobody listened, or before a change or a gap in listening, it may be out of date by now.
    if (wasListening && generation === this.generation) {
      const loadedAt = Date.now();
      for (const name of names) {
        const source = found.get(name);
        if (!source) setBounded(this.unknown, name, loadedAt);
        else if (!(source instanceof Error)) setBounded(this.known, name, { source, loadedAt });
      }
    }
    return names.map((name) => found.get(name));
  }
}

function setBounded<Value>(map: Map<string, Value>, name: string, value: Value): void {
  // What was set again is the newest, so that the oldest goes.
  map.delete(name);
  const [oldest] = map.size >= MAX_SOURCES ? map.keys() : [];
  if (oldest !== undefined) map.delete(oldest);
  map.set(name, value);
}
