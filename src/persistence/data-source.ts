import pg from 'pg';
import { DataSource, DataSourceOptions } from 'typeorm';
import { CreateTenants1790000000000 } from '../../migrations/1790000000000-create-tenants.js';
import { CreateDeliveries1790000000001 } from '../../migrations/1790000000001-create-deliveries.js';
import { CreateMaintenanceRun1790000000002 } from '../../migrations/1790000000002-create-maintenance-run.js';
import { CreatePartitionChanges1790000000003 } from '../../migrations/1790000000003-create-partition-changes.js';
import { CreateKeyGenerations1790000000004 } from '../../migrations/1790000000004-create-key-generations.js';
import { ManageTenants1790000000005 } from '../../migrations/1790000000005-manage-tenants.js';
import { CreateAuditLog1790000000006 } from '../../migrations/1790000000006-create-audit-log.js';
import { CreateSources1790000000007 } from '../../migrations/1790000000007-create-sources.js';
import { IndexWhatIsSearched1790000000008 } from '../../migrations/1790000000008-index-what-is-searched.js';
import { CreateDeliveryStatistics1790000000009 } from '../../migrations/1790000000009-create-delivery-statistics.js';
import { MatchPayloadValues1790000000015 } from '../../migrations/1790000000015-match-payload-values.js';
import { KeepOlderSecrets1790000000035 } from '../../migrations/1790000000035-keep-older-secrets.js';
import { CreateIdempotentRequests1790000000036 } from '../../migrations/1790000000036-create-idempotent-requests.js';
import { AddEventHops1790000000025 } from '../../migrations/1790000000025-add-event-hops.js';
import { AddDroppedAnswers1790000000045 } from '../../migrations/1790000000045-add-dropped-answers.js';
import { AddSubscriptionTargetHost1790000000050 } from '../../migrations/1790000000050-add-subscription-target-host.js';
import { AddTargetVerification1790000000026 } from '../../migrations/1790000000026-add-target-verification.js';
import { ApiKeyEntity } from './entities/api-key.entity.js';
import { SourceEntity } from './entities/source.entity.js';
import { SubscriptionEntity } from './entities/subscription.entity.js';
import { TenantEntity } from './entities/tenant.entity.js';
import { assertScoped } from './tenant-scope.js';

/** Somewhat longer than Postgres' own statement_timeout. */
const QUERY_TIMEOUT_MS = 35_000;

/** The name of the data source on whose connections people's reads run. */
export const READS = 'reads';
/** For how long one statement of a read may run, in milliseconds; then Postgres cancels it. */
export const READ_STATEMENT_MS = 2_000;
/** By then Postgres has answered, or the network has swallowed the statement. */
const READ_QUERY_MS = 10_000;

/**
 * The server may end a connection in the instant in which the pool hands it over, when neither the pool nor its taker
 * listens: that 'error' event would end the process. So there is always a listener; the next statement fails instead.
 */
class ListeningClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    this.on('error', () => undefined);
  }
}

/** Sends no statement that leaves open whose rows it is about: that fails with UnscopedStatement instead. */
class ScopedClient extends ListeningClient {
  /** `never` fits all that pg's overloads return. */
  override query(...sent: unknown[]): never {
    try {
      assertReadable(sent[0]);
    } catch (error) {
      return refuse(error as Error, sent) as never;
    }
    return (super.query as (...sent: unknown[]) => never).apply(this, sent);
  }
}

/** Marks its failures, as {@link isReadTimeout} asks; TypeORM keeps the mark. */
class ReadClient extends ScopedClient {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    // Before the client hears of it, and the code that sent the statement.
    this.connection.on('errorMessage', (error: object) => Object.assign(error, { isOfRead: true }));
  }
}

function assertReadable(statement: unknown): void {
  const text = typeof statement === 'string' ? statement : (statement as { text?: unknown }).text;
  if (typeof text !== 'string') throw new TypeError('Only statements whose text can be read are sent.');
  assertScoped(text);
}

/** As pg reports what the server refuses: to the callback, or else by the promise. */
function refuse(error: Error, sent: unknown[]): Promise<never> | undefined {
  const callback = sent.findLast((one) => typeof one === 'function') as
    ((error: unknown) => void) | undefined;
  if (!callback) return Promise.reject(error);
  process.nextTick(callback, error);
  return undefined;
}

export function dataSourceOptions(url: string, poolSize: number): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    poolSize,
    entities: [TenantEntity, ApiKeyEntity, SourceEntity, SubscriptionEntity],
    migrations: [
      CreateTenants1790000000000,
      CreateDeliveries1790000000001,
      CreateMaintenanceRun1790000000002,
      CreatePartitionChanges1790000000003,
      CreateKeyGenerations1790000000004,
      ManageTenants1790000000005,
      CreateAuditLog1790000000006,
      CreateSources1790000000007,
      IndexWhatIsSearched1790000000008,
      CreateDeliveryStatistics1790000000009,
      MatchPayloadValues1790000000015,
      KeepOlderSecrets1790000000035,
      CreateIdempotentRequests1790000000036,
      AddEventHops1790000000025,
      AddTargetVerification1790000000026,
      AddDroppedAnswers1790000000045,
      AddSubscriptionTargetHost1790000000050,
    ],
    applicationName: 'posthorn',
    extra: {
      Client: ScopedClient,
      // Every statement has its index. Tables grow from nothing to millions of rows between two runs of ANALYZE,
      // and a prepared plan that scans, chosen while a table was empty, would stay. Bitmap scans read all of a
      // subscription's history to sort it, where an index gives the newest page.
      options:
        '-c enable_seqscan=off -c enable_bitmapscan=off -c jit=off -c timezone=UTC -c lock_timeout=10s -c statement_timeout=30s ' +
        // A machine that is gone closes nothing: what it holds in the middle of a transaction, a lane's row for
        // instance, or as an advisory lock, would stay locked for the two hours of the system's keep-alive.
        '-c idle_in_transaction_session_timeout=10s ' +
        '-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3',
      // Statements that outlast this were swallowed by a network that says nothing: their connection is given up.
      query_timeout: QUERY_TIMEOUT_MS,
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    },
  };
}

/** For reading alone: connections with a limit of time, on which Postgres refuses every change. */
export function readDataSourceOptions(url: string, poolSize: number): DataSourceOptions {
  const options = dataSourceOptions(url, poolSize);
  const extra = options.extra as pg.PoolConfig;
  return {
    ...options,
    migrations: [],
    applicationName: 'posthorn reads',
    extra: {
      ...extra,
      Client: ReadClient,
      // Of two values for one setting the later one counts.
      options: `${extra.options} -c statement_timeout=${READ_STATEMENT_MS} -c default_transaction_read_only=on`,
      query_timeout: READ_QUERY_MS,
    },
  } as DataSourceOptions;
}

/** A replica that does not answer soon is not waited for: the primary answers instead. */
const REPLICA_CONNECT_MS = 2_000;

/** The same on a replica, which TypeORM does not know. */
export function createReplicaPool(url: string, poolSize: number): pg.Pool {
  const { extra } = readDataSourceOptions(url, poolSize) as { extra: pg.PoolConfig };
  const pool = new pg.Pool({
    ...extra,
    connectionString: url,
    max: poolSize,
    application_name: 'posthorn reads',
    connectionTimeoutMillis: REPLICA_CONNECT_MS,
  });
  pool.on('error', () => undefined); // the next statement tells
  return pool;
}

/**
 * For migrations. They may take as long as they need, but wait for a lock only briefly, for everybody who needs the
 * table stands behind who waits; that is SQLSTATE 55P03, and to be tried again.
 */
export function createDataSource(url: string): DataSource {
  const options = dataSourceOptions(url, 2);
  const extra = {
    ...(options.extra as object),
    Client: ListeningClient, // a migration is about everybody
    options: '-c timezone=UTC -c lock_timeout=2s -c statement_timeout=0',
    query_timeout: 0,
  };
  // Its other loggers write what failed to standard output, where only log lines belong; the error says it too.
  return new DataSource({ ...options, extra, logger: 'debug' });
}
