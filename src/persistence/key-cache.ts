import { Injectable } from '@nestjs/common';
import { hash } from 'node:crypto';
import { Config } from '../config/config.js';
import { AddressRanges } from '../domain/address-ranges.js';
import type { Scope } from '../domain/scope.js';
import { LeastRecentlyUsed } from '../domain/least-recently-used.js';
import type { RateLimitRule } from '../domain/token-bucket.js';
import { Batcher } from './batcher.js';
import { ChangeFeed } from './change-feed.js';
import { ApiKeyRepository, KeyOwnerRow } from './repositories/api-key.repository.js';

const MAX_AGE_MS = 60_000;
/** Whoever goes on with a wrong key costs a query this often, and not with each request. */
const UNKNOWN_MAX_AGE_MS = 5_000;
const MAX_KEYS = 10_000;
const MAX_KEYS_A_QUERY = 100;

/** Whom a key speaks for, what it may do, and what holds for its tenant. */
export interface KeyOwner {
  keyId: string;
  tenantId: string;
  scopes: ReadonlySet<Scope>;
  /** From then on, on this process' clock, the key may do nothing. */
  expiresAtMs: number;
  suspended: boolean;
  /** Null: it may be used from everywhere. */
  allowedIps: AddressRanges | null;
  rate: RateLimitRule;
}

/** What is behind a key, without a query when warm; kept right by {@link ChangeFeed}. */
@Injectable()
export class KeyCache {
  private readonly known = new LeastRecentlyUsed<string, { owner: KeyOwner; loadedAt: number }>(MAX_KEYS);
  /** When each key was found to be nobody's. Apart from the others, so that made-up keys cannot crowd them out. */
  private readonly unknown = new LeastRecentlyUsed<string, number>(MAX_KEYS);
  private generation = 0;
  /** One query at a time, so that a flood of made-up keys takes one connection. */
  private readonly lookUps: Batcher<string, KeyOwner | undefined>;

  constructor(
    private readonly keys: ApiKeyRepository,
    private readonly changes: ChangeFeed,
    private readonly config: Config,
  ) {
    this.lookUps = new Batcher({
      flush: (names) => this.load(names),
      maxWeight: MAX_KEYS_A_QUERY,
      lingerMs: 0,
    });
    changes.subscribe(
      ({ table, tenantId }) => {
        if (table === 'tenant' || table === 'api_key') this.forget(tenantId);
      },
      () => this.forgetAll(),
    );
  }

  /**
   * @param sha256 of the key, by {@link sha256Of}: how long a look-up takes tells nothing about the keys that there are
   * @returns undefined for a key that is unknown or revoked; one that has expired still has its owner; a promise only
   *   when it has to be looked up
   */
  owner(sha256: string): KeyOwner | undefined | Promise<KeyOwner | undefined> {
    const now = Date.now();
    const cached = this.known.get(sha256);
    const isRight = cached && cached.loadedAt > now - MAX_AGE_MS && this.changes.isListening;
    if (isRight) return cached.owner;
    if ((this.unknown.get(sha256) ?? 0) > now - UNKNOWN_MAX_AGE_MS) return undefined;
    return this.lookUps.add(sha256);
  }

  /** Called at once by whoever changed a tenant or its keys in this process; other processes hear through the feed. */
  forget(tenantId: string): void {
    for (const [name, { owner }] of this.known) if (owner.tenantId === tenantId) this.known.delete(name);
    this.unknown.clear();
    this.generation++;
  }

  private forgetAll(): void {
    this.known.clear();
    this.unknown.clear();
    this.generation++;
  }

  private async load(names: string[]): Promise<(KeyOwner | undefined | Error)[]> {
    const { generation } = this;
    const wasListening = this.changes.isListening;
    const rows = await this.keys.findOwners(names.map((name) => Buffer.from(name, 'base64')));
    const owners = new Map(rows.map((row) => [row.key_hash.toString('base64'), this.tryToOwner(row)]));
    // Read while nobody listened, or before a change or a gap in listening, it may be out of date by now.
    if (wasListening && generation === this.generation) {
      const loadedAt = Date.now();
      for (const name of names) {
        const owner = owners.get(name);
        if (!owner) this.unknown.set(name, loadedAt);
        else if (!(owner instanceof Error)) this.known.set(name, { owner, loadedAt });
      }
    }
    return names.map((name) => owners.get(name));
  }

  /** A row that cannot be read fails its own key, and not those that were looked up with it. */
  private tryToOwner(row: KeyOwnerRow): KeyOwner | Error {
    try {
      return this.toOwner(row);
    } catch (error) {
      return error as Error;
    }
  }

  private toOwner(row: KeyOwnerRow): KeyOwner {
    const { tenantRate } = this.config;
    return {
      keyId: row.id,
      tenantId: row.tenant_id,
      scopes: new Set(row.scopes),
      expiresAtMs: row.expires_in_ms === null ? Infinity : Date.now() + row.expires_in_ms,
      suspended: row.suspended,
      allowedIps: row.allowed_ips.length === 0 ? null : AddressRanges.parse(row.allowed_ips),
      rate:
        row.rate_per_second === null || row.rate_burst === null
          ? tenantRate
          : { perSecond: row.rate_per_second, burst: row.rate_burst },
    };
  }
}

/** Of a key; in base64, since as text it takes a sixth of the time that it takes with a buffer in between. */
export function sha256Of(key: string): string {
  return hash('sha256', key, 'base64');
}

export function hasExpired({ expiresAtMs }: KeyOwner): boolean {
  return Date.now() >= expiresAtMs;
}
