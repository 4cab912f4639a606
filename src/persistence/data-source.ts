import { DataSource, DataSourceOptions } from 'typeorm';
import { CreateTenants1790000000000 } from '../../migrations/1790000000000-create-tenants.js';
import { CreateDeliveries1790000000001 } from '../../migrations/1790000000001-create-deliveries.js';
import { CreateMaintenanceRun1790000000002 } from '../../migrations/1790000000002-create-maintenance-run.js';
import { ApiKeyEntity } from './entities/api-key.entity.js';
import { SubscriptionEntity } from './entities/subscription.entity.js';
import { TenantEntity } from './entities/tenant.entity.js';

/** Somewhat longer than Postgres' own statement_timeout. */
const QUERY_TIMEOUT_MS = 35_000;

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
        '-c enable_seqscan=off -c jit=off -c timezone=UTC -c lock_timeout=10s -c statement_timeout=30s',
      // Statements that outlast this were swallowed by a network that says nothing: their connection is given up.
      query_timeout: QUERY_TIMEOUT_MS,
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    },
  };
}

/** For migrations, which may take as long as they need. */
export function createDataSource(url: string): DataSource {
  const options = dataSourceOptions(url, 2);
  const untimed = { options: '-c timezone=UTC -c lock_timeout=0 -c statement_timeout=0', query_timeout: 0 };
  return new DataSource({ ...options, extra: { ...(options.extra as object), ...untimed } });
}
