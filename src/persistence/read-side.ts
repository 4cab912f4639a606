import { Injectable } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { Config } from '../config/config.js';
import { READS } from './data-source.js';
import type { Connection } from './database.js';
import { ApiKeyEntity } from './entities/api-key.entity.js';
import { SourceEntity } from './entities/source.entity.js';
import { SubscriptionEntity } from './entities/subscription.entity.js';
import { TenantEntity } from './entities/tenant.entity.js';
import { ReadDatabase } from './read-database.js';
import { ApiKeyRepository } from './repositories/api-key.repository.js';
import { AuditRepository } from './repositories/audit.repository.js';
import { DeadLetterRepository } from './repositories/dead-letter.repository.js';
import { DeliveryRepository } from './repositories/delivery.repository.js';
import { EventRepository } from './repositories/event.repository.js';
import { SearchRepository } from './repositories/search.repository.js';
import { SourceRepository } from './repositories/source.repository.js';
import { StatisticsRepository } from './repositories/statistics.repository.js';
import { SubscriptionRepository } from './repositories/subscription.repository.js';
import { TenantRepository } from './repositories/tenant.repository.js';

/** Questions that change nothing. */
export interface Reads {
  events: Pick<EventRepository, 'find' | 'findByKeys' | 'list' | 'payload'>;
  deliveries: Pick<DeliveryRepository, 'attempts' | 'find' | 'list'>;
  deadLetters: Pick<DeadLetterRepository, 'find' | 'list'>;
  statistics: Pick<StatisticsRepository, 'now' | 'series' | 'worst'>;
  search: Pick<SearchRepository, 'search'>;
}

/** The same about what people set up: each is one statement, hence of one moment by itself. */
export interface SettingReads {
  audit: Pick<AuditRepository, 'list' | 'listAll'>;
  apiKeys: Pick<ApiKeyRepository, 'find' | 'list'>;
  sources: Pick<SourceRepository, 'find' | 'list'>;
  subscriptions: Pick<SubscriptionRepository, 'find' | 'list'>;
  tenants: Pick<TenantRepository, 'find' | 'list'>;
}

/**
 * What people look at, on connections that ingest and delivery do not need. What decides on a change is asked of the
 * repositories themselves.
 */
@Injectable()
export class ReadSide {
  /** Of now, so that what was just changed is seen. */
  readonly settings: SettingReads;

  constructor(
    private readonly database: ReadDatabase,
    @InjectDataSource(READS) source: DataSource,
    config: Config,
  ) {
    this.settings = {
      audit: new AuditRepository(database),
      apiKeys: new ApiKeyRepository(source.getRepository(ApiKeyEntity), database),
      sources: new SourceRepository(source.getRepository(SourceEntity), database, config),
      subscriptions: new SubscriptionRepository(source.getRepository(SubscriptionEntity), database, config),
      tenants: new TenantRepository(source.getRepository(TenantEntity)),
    };
  }

  /**
   * For lists, and what is summed up. All that `ask` learns is of one moment, which with a replica may be a little ago.
   */
  late<T>(ask: (reads: Reads) => Promise<T>): Promise<T> {
    return this.database.snapshot((snapshot) => ask(readsOf(snapshot)));
  }

  /** For one thing by its id or key, likewise: what a replica does not have yet, the primary may have. */
  async find<T>(ask: (reads: Reads) => Promise<T | undefined>): Promise<T | undefined> {
    const found = await this.late(ask);
    if (found !== undefined || !this.database.hasReplica) return found;
    return this.database.primarySnapshot((snapshot) => ask(readsOf(snapshot)));
  }
}

const readsOf = (snapshot: Connection): Reads => ({
  events: new EventRepository(snapshot),
  deliveries: new DeliveryRepository(snapshot),
  deadLetters: new DeadLetterRepository(snapshot),
  statistics: new StatisticsRepository(snapshot),
  search: new SearchRepository(snapshot),
});
