import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, Repository } from 'typeorm';
import { Config } from '../../config/config.js';
import { type SealedSecret, UndecryptableSecret } from '../../domain/encryption.js';
import type { ProviderName } from '../../domain/providers/provider-names.js';
import type { SourceSettings } from '../../domain/providers/source-settings.js';
import { Database } from '../database.js';
import { SourceEntity, UnsealedSource } from '../entities/source.entity.js';
import type { OlderSecret } from '../entities/subscription.entity.js';
import { Page, PageRequest, toPage } from '../page.js';
import { RowSecrets } from '../row-secrets.js';
import { rotateSecret } from '../secret-rotation.js';

/** A source as its address needs it, with what its tenant says about it. */
export interface ServedSourceRow {
  id: string;
  tenant_id: string;
  provider: ProviderName;
  settings: SourceSettings;
  is_active: boolean;
  secret: SealedSecret;
  previous_secret: SealedSecret | null;
  previous_secret_expires_at: Date | null;
  older_secrets: OlderSecret[];
  allowed_ips: string[];
  suspended: boolean;
  rate_per_second: number | null;
  rate_burst: number | null;
}

/** Materialized, or a table of sources that was empty when it was analyzed would be read once for each tenant. */
const served = (which: string): string => `
  with s as materialized (select * from source where ${which})
  select s.id, s.tenant_id, s.provider, s.settings, s.is_active, s.secret, s.previous_secret,
         s.previous_secret_expires_at, s.older_secrets, s.allowed_ips, t.suspended, t.rate_per_second, t.rate_burst
  from s join tenant t on t.id = s.tenant_id and t.deletion_requested_at is null
  /* all tenants: the source, or who asks, says whose it is */`;

const SERVED_BY_ID = { name: 'served-sources', text: served('id = any ($1::uuid[])') };

const SERVED_OF_TENANTS = {
  name: 'served-ingest-sources',
  text: served(`provider = 'posthorn' and tenant_id = any ($1::uuid[])`),
};

/** Secrets are stored encrypted: plain text goes in, and comes out of {@link secretsInUse} alone. */
@Injectable()
export class SourceRepository {
  private readonly secrets: RowSecrets;

  constructor(
    @InjectRepository(SourceEntity) private readonly sources: Repository<SourceEntity>,
    private readonly database: Database,
    config: Config,
  ) {
    this.secrets = new RowSecrets('source', config);
  }

  /** @returns it as it was stored; null when the tenant has its one source for POST /webhooks/ingest already */
  async insert(source: UnsealedSource): Promise<SourceEntity | null> {
    const entity = Object.assign(new SourceEntity(), this.secrets.seal(source, source));
    try {
      await this.sources.insert(entity);
      return entity;
    } catch (error) {
      if ((error as { constraint?: unknown }).constraint === 'source_ingest_key') return null;
      throw error;
    }
  }

  find(tenantId: string, id: string): Promise<SourceEntity | null> {
    return this.sources.findOneBy({ tenantId, id });
  }

  /** A tenant's sources, newest first. Uses source_by_tenant. */
  async list(tenantId: string, { limit, cursor }: PageRequest): Promise<Page<SourceEntity>> {
    const rows = await this.sources.find({
      where: { tenantId, ...(cursor !== null && { id: LessThan(cursor) }) },
      order: { id: 'DESC' },
      take: limit + 1,
    });
    return toPage(rows, limit);
  }

  /** How many a tenant has. Uses source_by_tenant. */
  countOf(tenantId: string): Promise<number> {
    return this.sources.countBy({ tenantId });
  }

  /** Those of these ids that there are, but for tenants that are being deleted. Uses source_pkey. */
  findServed(ids: string[]): Promise<ServedSourceRow[]> {
    return this.database.run<ServedSourceRow>(SERVED_BY_ID, [ids]);
  }

  /** Those for POST /webhooks/ingest, at most one a tenant. Uses source_ingest_key. */
  findServedForIngest(tenantIds: string[]): Promise<ServedSourceRow[]> {
    return this.database.run<ServedSourceRow>(SERVED_OF_TENANTS, [tenantIds]);
  }

  /** Writes the given columns and no other. @returns whether there was such a source */
  async update(
    tenantId: string,
    id: string,
    changes: Partial<Omit<SourceEntity, 'secret' | 'previousSecret'>>,
  ): Promise<boolean> {
    const { affected } = await this.sources.update(
      { tenantId, id },
      {
        ...changes,
        updatedAt: new Date(),
      },
    );
    return affected === 1;
  }

  /**
   * Puts a new secret in the place of the present one, which stays valid beside it until `previousUntil`.
   * @returns false, with nothing done, when there is no such source, or too many of its secrets are valid
   */
  rotateSecret(
    tenantId: string,
    id: string,
    secret: string,
    overlap: { now: Date; previousUntil: Date },
  ): Promise<boolean> {
    const sealed = this.secrets.encrypt(secret, { tenantId, id });
    return rotateSecret(this.database, 'source', { tenantId, id, secret: sealed, ...overlap });
  }

  /** Puts a new secret in the place of all that there are. @returns whether there was such a source */
  async replaceSecret(tenantId: string, id: string, secret: string, now: Date): Promise<boolean> {
    const { affected } = await this.sources.update(
      { tenantId, id },
      {
        secret: this.secrets.encrypt(secret, { tenantId, id }),
        previousSecret: null,
        previousSecretExpiresAt: null,
        olderSecrets: [],
        updatedAt: now,
      },
    );
    return affected === 1;
  }

  /** Its present secret; null when that cannot be decrypted. */
  presentSecret(source: SourceEntity): string | null {
    try {
      return this.secrets.reveal(source.secret, source);
    } catch (error) {
      if (error instanceof UndecryptableSecret) return null;
      throw error;
    }
  }

  /** See {@link RowSecrets.inUse}. */
  secretsInUse(row: ServedSourceRow): (nowMs: number) => string[] {
    return this.secrets.inUse({
      tenantId: row.tenant_id,
      id: row.id,
      secret: row.secret,
      previousSecret: row.previous_secret,
      previousSecretExpiresAt: row.previous_secret_expires_at,
      olderSecrets: row.older_secrets,
    });
  }

  /** @returns whether there was such a source */
  async delete(tenantId: string, id: string): Promise<boolean> {
    const { affected } = await this.sources.delete({ tenantId, id });
    return affected === 1;
  }
}
