import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { EntityManager, LessThan, Repository } from 'typeorm';
import type { Scope } from '../../domain/scope.js';
import { Database } from '../database.js';
import { ApiKeyEntity } from '../entities/api-key.entity.js';
import { Page, PageRequest, toPage } from '../page.js';

/** A key, with what its tenant says about its use. */
export interface KeyOwnerRow {
  id: string;
  tenant_id: string;
  key_hash: Buffer;
  scopes: Scope[];
  /** From now on by the clock of Postgres, in milliseconds; null: never. */
  expires_in_ms: number | null;
  suspended: boolean;
  rate_per_second: number | null;
  rate_burst: number | null;
  allowed_ips: string[];
}

@Injectable()
export class ApiKeyRepository {
  constructor(
    @InjectRepository(ApiKeyEntity) private readonly keys: Repository<ApiKeyEntity>,
    private readonly database: Database,
  ) {}

  /** Whose keys these are, by their SHA-256; unknown keys are left out. Uses api_key_hash_key. */
  findOwners(hashes: Buffer[]): Promise<KeyOwnerRow[]> {
    return this.database.run<KeyOwnerRow>(
      `select k.id, k.tenant_id, k.key_hash, k.scopes,
              (extract(epoch from k.expires_at - clock_timestamp()) * 1000)::float8 as expires_in_ms,
              t.suspended, t.rate_per_second, t.rate_burst, t.allowed_ips
       from api_key k join tenant t on t.id = k.tenant_id
       where k.key_hash = any ($1::bytea[]) and t.deletion_requested_at is null
       /* all tenants: the key says whose it is */`,
      [hashes],
    );
  }

  /** @returns false, with nothing done, when the tenant has `most` keys that have not expired */
  insert(key: ApiKeyEntity, most: number): Promise<boolean> {
    return this.keys.manager.transaction(async (manager) => {
      if (!(await hasCapacity(manager, key.tenantId, most))) return false;
      await manager.insert(ApiKeyEntity, key);
      return true;
    });
  }

  find(tenantId: string, id: string): Promise<ApiKeyEntity | null> {
    return this.keys.findOneBy({ tenantId, id });
  }

  /** A tenant's keys, newest first. Uses api_key_by_tenant. */
  async list(tenantId: string, { limit, cursor }: PageRequest): Promise<Page<ApiKeyEntity>> {
    const rows = await this.keys.find({
      where: { tenantId, ...(cursor !== null && { id: LessThan(cursor) }) },
      order: { id: 'DESC' },
      take: limit + 1,
    });
    return toPage(rows, limit);
  }

  /** @returns whether there was such a key */
  async delete(tenantId: string, id: string): Promise<boolean> {
    const { affected } = await this.keys.delete({ tenantId, id });
    return affected === 1;
  }

  /**
   * Adds a key that takes the place of another one, which ends after `overlapSeconds` unless it ends before.
   * @param most keys of the tenant that have not expired, both of these included
   * @returns what it did: `ended`, with nothing done, when the old one is not there, has ended or was replaced before
   */
  async replace(
    key: ApiKeyEntity,
    oldId: string,
    overlapSeconds: number,
    most: number,
  ): Promise<'replaced' | 'ended' | 'too many'> {
    return this.keys.manager.transaction(async (manager) => {
      if (!(await hasCapacity(manager, key.tenantId, most))) return 'too many';
      const { affected } = await manager
        .createQueryBuilder()
        .update(ApiKeyEntity)
        .set({
          expiresAt: () => 'least(expires_at, now() + make_interval(secs => :overlapSeconds))',
          replacedBy: key.id,
        })
        .setParameters({ overlapSeconds })
        .where('tenant_id = :tenantId and id = :oldId', { tenantId: key.tenantId, oldId })
        .andWhere('replaced_by is null and (expires_at is null or expires_at > now())')
        .execute();
      if (affected !== 1) return 'ended';
      await manager.insert(ApiKeyEntity, key);
      return 'replaced';
    });
  }

  /** Notes when keys were used last; a later time that another process has noted stays. */
  async touch(usedAt: ReadonlyMap<string, Date>): Promise<void> {
    await this.database.run(
      // In one order in every process, and not waiting for who deletes them.
      `with used as materialized (
         select k.id, u.at from unnest($1::uuid[], $2::timestamptz[]) as u(id, at) join api_key k on k.id = u.id
         order by k.id for no key update of k skip locked /* all tenants: keys that this process has recognised */
       )
       update api_key k set last_used_at = greatest(k.last_used_at, used.at) from used where k.id = used.id
       /* all tenants: keys that this process has recognised */`,
      [[...usedAt.keys()], [...usedAt.values()]],
    );
  }
}

/**
 * Whether the tenant may have one more key. Locks the tenant until the transaction ends, so that keys that are made at
 * once are counted. Of those that have expired the newest `most` stay, for who wants to see when they were used last.
 * Uses api_key_by_tenant.
 */
async function hasCapacity(manager: EntityManager, tenantId: string, most: number): Promise<boolean> {
  await manager.query('select 1 from tenant where id = $1 for no key update', [tenantId]);
  await manager.query(
    `delete from api_key where tenant_id = $1 and id in (
       select id from api_key where tenant_id = $1 and expires_at <= now() order by id desc offset $2
     )`,
    [tenantId, most],
  );
  const [{ count }] = await manager.query<[{ count: number }]>(
    `select count(*)::int as count from api_key
     where tenant_id = $1 and (expires_at is null or expires_at > now())`,
    [tenantId],
  );
  return count < most;
}
