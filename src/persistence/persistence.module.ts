import { Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Config } from '../config/config.js';
import { ChangeFeed } from './change-feed.js';
import { dataSourceOptions, readDataSourceOptions, READS } from './data-source.js';
import { Database } from './database.js';
import { ApiKeyEntity } from './entities/api-key.entity.js';
import { SourceEntity } from './entities/source.entity.js';
import { SubscriptionEntity } from './entities/subscription.entity.js';
import { TenantEntity } from './entities/tenant.entity.js';
import { KeyCache } from './key-cache.js';
import { KeyUsage } from './key-usage.js';
import { ReadDatabase } from './read-database.js';
import { ReadSide } from './read-side.js';
import { ApiKeyRepository } from './repositories/api-key.repository.js';
import { AuditRepository } from './repositories/audit.repository.js';
import { DeadLetterRepository } from './repositories/dead-letter.repository.js';
import { DeliveryRepository } from './repositories/delivery.repository.js';
import { EventRepository } from './repositories/event.repository.js';
import { HeartbeatRepository } from './repositories/heartbeat.repository.js';
import { IdempotentRequestRepository } from './repositories/idempotent-request.repository.js';
import { LaneRepository } from './repositories/lane.repository.js';
import { MaintenanceRunRepository } from './repositories/maintenance-run.repository.js';
import { PartitionRepository } from './repositories/partition.repository.js';
import { PurgeRepository } from './repositories/purge.repository.js';
import { SearchRepository } from './repositories/search.repository.js';
import { SourceRepository } from './repositories/source.repository.js';
import { StatisticsRepository } from './repositories/statistics.repository.js';
import { SubscriptionRepository } from './repositories/subscription.repository.js';
import { TenantPurgeRepository } from './repositories/tenant-purge.repository.js';
import { TenantRepository } from './repositories/tenant.repository.js';
import { SourceCache } from './source-cache.js';
import { SubscriptionCache } from './subscription-cache.js';

const providers = [
  Database,
  ReadDatabase,
  ReadSide,
  ChangeFeed,
  KeyCache,
  KeyUsage,
  SourceCache,
  SubscriptionCache,
  ApiKeyRepository,
  AuditRepository,
  DeadLetterRepository,
  DeliveryRepository,
  EventRepository,
  HeartbeatRepository,
  IdempotentRequestRepository,
  LaneRepository,
  MaintenanceRunRepository,
  PartitionRepository,
  PurgeRepository,
  SearchRepository,
  SourceRepository,
  StatisticsRepository,
  SubscriptionRepository,
  TenantPurgeRepository,
  TenantRepository,
];

/** Everything that knows Postgres: repositories, and the caches in front of them. */
@Global()
@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      inject: [Config],
      useFactory: (config: Config) => ({
        ...dataSourceOptions(config.databaseUrl, config.databasePoolSize),
        retryAttempts: 10,
        retryDelay: 500,
      }),
    }),
    TypeOrmModule.forRootAsync({
      name: READS,
      inject: [Config],
      useFactory: (config: Config) => ({
        ...readDataSourceOptions(config.databaseUrl, config.databaseReadPoolSize),
        retryAttempts: 10,
        retryDelay: 500,
      }),
    }),
    TypeOrmModule.forFeature([TenantEntity, ApiKeyEntity, SourceEntity, SubscriptionEntity]),
  ],
  providers,
  exports: providers,
})
export class PersistenceModule {}
