import { DataSource, DataSourceOptions } from 'typeorm';
import { CreateTenants1790000000000 } from '../../migrations/1790000000000-create-tenants.js';
import { CreateDeliveries1790000000001 } from '../../migrations/1790000000001-create-deliveries.js';
import { CreateMaintenanceRun1790000000002 } from '../../migrations/1790000000002-create-maintenance-run.js';
import { ApiKeyEntity } from './entities/api-key.entity.js';
import { SubscriptionEntity } from './entities/subscription.entity.js';
import { TenantEntity } from './entities/tenant.entity.js';

export function dataSourceOptions(url: string, poolSize: number): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    poolSize,
    entities: [TenantEntity, ApiKeyEntity, SubscriptionEntity],
    migrations: [
      CreateTenants1790000000000,
      CreateDeliveries1790000000001,
      CreateMaintenanceRun1790000000002,
    ],
    applicationName: 'posthorn',
    extra: {
      // Every statement has its index. Tables grow from nothing to millions of rows between two runs of ANALYZE,
      // and a prepared plan that scans, chosen while a table was empty, would stay.
      options:
        '-c enable_seqscan=off -c jit=off -c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s',
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    },
  };
}

/** A connection of its own, for migrations. */
export const createDataSource = (url: string): DataSource => new DataSource(dataSourceOptions(url, 2));
