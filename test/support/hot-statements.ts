import { createHash } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { loadConfig } from '../../src/config/config.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { Database } from '../../src/persistence/database.js';
import { ApiKeyEntity } from '../../src/persistence/entities/api-key.entity.js';
import { SourceEntity } from '../../src/persistence/entities/source.entity.js';
import { SubscriptionEntity } from '../../src/persistence/entities/subscription.entity.js';
import { TenantEntity } from '../../src/persistence/entities/tenant.entity.js';
import { ApiKeyRepository } from '../../src/persistence/repositories/api-key.repository.js';
import { DeadLetterRepository } from '../../src/persistence/repositories/dead-letter.repository.js';
import { DeliveryRepository } from '../../src/persistence/repositories/delivery.repository.js';
import { EventRepository, type NewEvent } from '../../src/persistence/repositories/event.repository.js';
import { HeartbeatRepository } from '../../src/persistence/repositories/heartbeat.repository.js';
import type { ClaimedDelivery } from '../../src/domain/delivery.js';
import { LaneRepository } from '../../src/persistence/repositories/lane.repository.js';
import { PartitionRepository } from '../../src/persistence/repositories/partition.repository.js';
import { PurgeRepository } from '../../src/persistence/repositories/purge.repository.js';
import { SearchRepository } from '../../src/persistence/repositories/search.repository.js';
import { SourceRepository } from '../../src/persistence/repositories/source.repository.js';
import { StatisticsRepository } from '../../src/persistence/repositories/statistics.repository.js';
import { SubscriptionRepository } from '../../src/persistence/repositories/subscription.repository.js';
import { TenantPurgeRepository } from '../../src/persistence/repositories/tenant-purge.repository.js';
import { TenantRepository } from '../../src/persistence/repositories/tenant.repository.js';
import type { DeliveryFilter } from '../../src/persistence/search/delivery-filter.js';
import type { History } from './history.js';
import { delivered } from './results.js';

/** What the service asks Postgres often, or over large tables, and how it should be served. */
export interface HotStatement {
  does: string;
  /** Whether it is prepared under a name, so that one plan has to do for all values. */
  isNamed?: true;
  run: (repositories: Repositories, picks: Picks) => Promise<unknown>;
  /** The indexes that are read, as the migrations name them; `a|b` where either one serves. */
  indexes: string[];
  /** Partitions of a table that are read, at most; any number of them unless given. */
  partitions?: 1;
  /** Blocks of 8 KiB that are touched, at most: some twice of what was measured. */
  blocks: number;
}

export type Repositories = ReturnType<typeof repositoriesOf>;

/** What a statement works on; found over another connection, so that it is not on the statement's account. */
export interface Picks {
  history: History;
  tenantId: string;
  /** The lane with the most that is due. */
  busiest: string;
  claimed: (count: number) => Promise<ClaimedDelivery[]>;
}

const GREATEST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
/** By which the rows of a page are read. */
const LOADED = ['delivery_pkey', 'event_pkey'];
const PAGE = { limit: 50, cursor: null };

export const HOT_STATEMENTS: HotStatement[] = [
  {
    does: 'claims 50 of one lane',
    isNamed: true,
    run: ({ lanes }, { busiest }) => lanes.claimDue([{ subscriptionId: busiest, quota: 50 }], 60),
    indexes: ['delivery_due', 'delivery_pkey', 'event_pkey'],
    blocks: 50 * 25,
  },
  {
    does: 'claims one in each of 50 lanes',
    isNamed: true,
    run: async ({ lanes }, { history }) => {
      const due = await history.dueLanes(50);
      await lanes.claimDue(
        due.map((subscriptionId) => ({ subscriptionId, quota: 1 })),
        60,
      );
    },
    indexes: ['delivery_due', 'delivery_pkey', 'event_pkey'],
    blocks: 50 * 40,
  },
  {
    does: 'claims in a lane that has nothing due',
    isNamed: true,
    run: ({ lanes }) => lanes.claimDue([{ subscriptionId: uuidV7(1), quota: 50 }], 60),
    indexes: ['delivery_due'],
    blocks: 30,
  },
  {
    does: 'claims 20 of a lane with a rate limit and a concurrency limit',
    isNamed: true,
    run: ({ lanes }, { busiest }) =>
      lanes.claimPaced(busiest, 20, { spacingMs: 0.001, maxConcurrency: 1_000 }, 60),
    indexes: ['delivery_due|delivery_by_subscription', 'delivery_pkey', 'event_pkey', 'lane_pkey'],
    blocks: 20 * 40,
  },
  {
    does: 'records 50 results, and what they add to the statistics',
    isNamed: true,
    run: async ({ lanes }, { claimed }) => lanes.record((await claimed(50)).map((one) => delivered(one))),
    indexes: ['delivery_pkey'],
    blocks: 50 * 30,
  },
  {
    does: 'releases 50',
    run: async ({ lanes }, { claimed }) => lanes.release(await claimed(50)),
    indexes: ['delivery_pkey'],
    blocks: 50 * 14,
  },
  {
    does: 'looks for lanes that are due',
    run: ({ lanes }) => lanes.dueLanes(),
    indexes: ['delivery_due|delivery_by_subscription', 'subscription_pkey', 'tenant_pkey'],
    blocks: 500 * 25,
  },
  {
    does: 'makes a lane due now',
    isNamed: true,
    run: async ({ subscriptions }, { tenantId, history }) =>
      subscriptions.expedite(tenantId, await history.waitingLane()),
    indexes: ['delivery_due|delivery_by_subscription', 'delivery_by_tenant|delivery_pkey'],
    blocks: 100 * 50,
  },
  {
    does: 'inserts 50 events with a key and a delivery each',
    isNamed: true,
    run: ({ events }, { tenantId, busiest }) =>
      events.insert(Array.from({ length: 50 }, () => newEvent(tenantId, busiest))),
    indexes: ['idempotency_key_old_pkey'],
    blocks: 50 * 20,
  },
  {
    does: 'looks up 50 idempotency keys',
    isNamed: true,
    run: async ({ events }, { history }) => events.findByKeys(await history.keys(50)),
    indexes: ['idempotency_key_old_pkey', 'idempotency_key_pkey'],
    partitions: 1,
    blocks: 50 * 12,
  },
  {
    does: 'finds an event',
    run: async ({ events }, { tenantId, history }) =>
      events.find(tenantId, (await history.delivery('delivered')).event_id),
    indexes: ['delivery_by_tenant|delivery_pkey', 'event_pkey|event_by_tenant'],
    partitions: 1,
    blocks: 20,
  },
  {
    does: 'finds a payload',
    run: async ({ events }, { tenantId, history }) =>
      events.payload(tenantId, (await history.delivery('delivered')).event_id),
    indexes: ['event_pkey|event_by_tenant'],
    partitions: 1,
    blocks: 8,
  },
  {
    does: 'lists 50 events',
    run: ({ events }, { tenantId }) => events.list(tenantId, PAGE, {}),
    indexes: ['delivery_by_tenant|delivery_pkey', 'event_by_tenant', 'event_pkey'],
    blocks: 50 * 50,
  },
  {
    does: 'lists 50 events of a tenant that has few',
    run: ({ events }, { history }) => events.list(history.quietTenantId, PAGE, {}),
    indexes: ['delivery_by_tenant|delivery_pkey', 'event_by_tenant', 'event_pkey'],
    blocks: 50 * 25,
  },
  {
    does: 'lists 50 events of a type',
    run: ({ events }, { tenantId }) => events.list(tenantId, PAGE, { eventType: 'type.3' }),
    indexes: ['delivery_by_tenant|delivery_pkey', 'event_by_type', 'event_pkey'],
    blocks: 50 * 40,
  },
  {
    does: 'finds a delivery',
    run: async ({ deliveries }, { tenantId, history }) =>
      deliveries.find(tenantId, (await history.delivery('delivered')).id),
    indexes: ['delivery_pkey|delivery_by_tenant'],
    partitions: 1,
    blocks: 8,
  },
  {
    does: 'finds the attempts of a delivery',
    run: async ({ deliveries }, { tenantId, history }) =>
      deliveries.attempts(tenantId, (await history.delivery('delivered')).id),
    indexes: ['delivery_attempt_pkey', 'delivery_pkey|delivery_by_tenant'],
    partitions: 1,
    blocks: 16,
  },
  {
    does: 'lists 50 deliveries',
    run: ({ deliveries }, { tenantId }) => deliveries.list(tenantId, PAGE, {}),
    indexes: ['delivery_pkey', 'delivery_by_tenant'],
    blocks: 250,
  },
  {
    does: 'lists 50 deliveries of a tenant that has few',
    run: ({ deliveries }, { history }) => deliveries.list(history.quietTenantId, PAGE, {}),
    indexes: ['delivery_pkey', 'delivery_by_tenant'],
    blocks: 300,
  },
  {
    does: 'lists the deliveries of a subscription',
    run: ({ deliveries }, { tenantId, busiest }) =>
      deliveries.list(tenantId, PAGE, { subscriptionId: busiest }),
    indexes: ['delivery_by_subscription', 'delivery_pkey'],
    blocks: 250,
  },
  {
    does: 'lists the deliveries of an event',
    run: async ({ deliveries }, { tenantId, history }) =>
      deliveries.list(tenantId, PAGE, { eventIds: [(await history.delivery('delivered')).event_id] }),
    // The pairs name no partitions.
    indexes: ['delivery_by_tenant', 'delivery_pkey'],
    blocks: 50,
  },
  {
    does: 'lists 50 dead deliveries',
    run: ({ deliveries }, { tenantId }) => deliveries.list(tenantId, PAGE, { statuses: ['dead'] }),
    indexes: ['delivery_dead', 'delivery_pkey'],
    blocks: 500,
  },
  ...searches({
    'by a type': [{ eventTypes: ['type.3'] }, ['event_by_type', 'delivery_by_tenant']],
    'by three types': [
      { eventTypes: ['type.3', 'type.4', 'type.19'] },
      ['event_by_type', 'delivery_by_tenant'],
    ],
    'by a pattern': [{ eventTypes: ['*.7'] }, ['event_by_type', 'delivery_by_tenant']],
    'by a status that is open': [{ statuses: ['retrying'] }, ['delivery_open']],
    'by what is dead or cancelled': [
      { statuses: ['dead', 'cancelled'] },
      ['delivery_dead', 'delivery_cancelled'],
    ],
    'by a status code': [{ statusCodes: { least: 500, greatest: 599 } }, ['delivery_failed'], 'nothing'],
    'by an error': [{ error: 'timeout' }, ['delivery_failed'], 'nothing'],
    'by a value in the payload': [
      { statuses: ['retrying'], payload: [{ path: ['id'], equals: 'x' }] },
      ['delivery_open', 'event_pkey'],
      'nothing',
    ],
    'by what is delivered': [{ statuses: ['delivered'] }, ['delivery_by_tenant']],
  }),
  {
    does: 'retries a delivery',
    run: async ({ deliveries }, { tenantId, history }) =>
      deliveries.reopen(tenantId, (await history.delivery('delivered')).id),
    indexes: ['delivery_pkey|delivery_by_tenant', 'subscription_pkey|subscription_by_tenant'],
    partitions: 1,
    blocks: 200,
  },
  {
    does: 'cancels a delivery',
    run: async ({ deliveries }, { tenantId, history }) =>
      deliveries.cancel(tenantId, (await history.delivery('retrying')).id),
    indexes: ['delivery_pkey|delivery_by_tenant'],
    partitions: 1,
    blocks: 60,
  },
  {
    does: 'finds a dead letter',
    run: async ({ deadLetters }, { tenantId, history }) =>
      deadLetters.find(tenantId, (await history.delivery('dead')).id),
    indexes: ['delivery_dead|delivery_pkey|delivery_by_tenant'],
    partitions: 1,
    blocks: 8,
  },
  {
    does: 'lists 50 dead letters',
    run: ({ deadLetters }, { tenantId }) => deadLetters.list(tenantId, PAGE, {}),
    indexes: ['delivery_dead'],
    blocks: 150,
  },
  {
    does: 'discards the dead letters of a subscription',
    run: async ({ deadLetters }, { tenantId, history }) => {
      const { subscription_id: subscriptionId } = await history.delivery('dead');
      await deadLetters.discardBatch(tenantId, { subscriptionId }, null);
    },
    indexes: ['delivery_dead', 'delivery_dead|delivery_pkey|delivery_by_subscription'],
    blocks: 500,
  },
  {
    does: 'gives up what is due for a subscription that is off',
    run: async ({ purge }, { history }) => {
      await history.switchOffDueLane();
      await purge.expireBatch(Date.now(), Date.now());
    },
    indexes: [
      'delivery_due|delivery_by_subscription',
      'delivery_pkey',
      'subscription_by_tenant|subscription_pkey',
      'tenant_pkey',
    ],
    blocks: 2_000,
  },
  {
    does: 'looks at 2,000 deliveries of a tenant, none of which has had its time',
    run: ({ tenantPurge }, { tenantId }) =>
      tenantPurge.deleteDeliveries(tenantId, { endedBeforeMs: 0 }, GREATEST_ID),
    indexes: ['delivery_by_tenant', 'delivery_pkey|delivery_by_tenant', 'delivery_attempt_pkey'],
    blocks: 2_000,
  },
  {
    does: 'looks at all deliveries of a tenant that has few',
    run: ({ tenantPurge }, { history }) =>
      tenantPurge.deleteDeliveries(history.quietTenantId, { endedBeforeMs: 0 }, GREATEST_ID),
    indexes: ['delivery_by_tenant', 'delivery_pkey|delivery_by_tenant', 'delivery_attempt_pkey'],
    blocks: 500,
  },
  {
    does: 'looks at 2,000 events of a tenant, all of which have a delivery still',
    run: ({ tenantPurge }, { tenantId }) => tenantPurge.deleteEvents(tenantId, 'everything', null),
    indexes: [
      'event_by_tenant',
      'event_pkey|event_by_tenant',
      'delivery_pkey',
      'idempotency_key_pkey',
      'idempotency_key_old_pkey',
    ],
    blocks: 2_000 * 10,
  },
  {
    does: 'deletes the idempotency keys of a tenant',
    run: ({ tenantPurge }, { history }) =>
      tenantPurge.deleteKeys(history.quietTenantId, 'idempotency_key', null),
    indexes: ['idempotency_key_pkey'],
    blocks: 20,
  },
  {
    does: 'asks whether a tenant that is being deleted has anything left',
    run: ({ tenantPurge }) => tenantPurge.deleteTenant(uuidV7(1), 0),
    indexes: [
      'tenant_pkey|tenant_to_remove',
      'delivery_by_tenant',
      // Whether there is one at all: of an index that begins with the tenant, any will do.
      'event_by_tenant|event_by_type',
      'idempotency_key_pkey',
      'idempotency_key_old_pkey',
      'delivery_stat_pkey',
      'delivery_stat_delta_by_subscription',
      'dead_letter_count_pkey',
      'idempotent_request_tenant_key',
    ],
    blocks: 100,
  },
  {
    does: 'counts what is open and dead',
    run: ({ lanes }) => lanes.countOpenAndDead(),
    indexes: ['delivery_dead', 'delivery_due'],
    blocks: 1_500,
  },
  {
    does: 'adds up statistics',
    isNamed: true,
    run: async ({ lanes, statistics }, { claimed }) => {
      await lanes.record((await claimed(50)).map((one) => delivered(one)));
      await statistics.fold(100);
    },
    indexes: ['delivery_pkey', 'delivery_stat_delta_by_subscription', 'tenant_pkey'],
    blocks: 50 * 30 + 500,
  },
  {
    does: 'notes how many dead letters everybody has',
    run: async ({ statistics }) => {
      await statistics.sampleDeadLetters();
    },
    indexes: ['delivery_dead', 'dead_letter_count_pkey'],
    blocks: 8_000,
  },
  {
    does: 'counts the dead letters of a tenant',
    run: ({ statistics }, { tenantId }) => statistics.now({ tenantId, subscriptionId: null }),
    indexes: ['delivery_dead'],
    blocks: 1_500,
  },
  {
    does: 'finds the statistics of a subscription',
    run: ({ statistics }, { tenantId, busiest }) =>
      statistics.series({ tenantId, subscriptionId: busiest }, 'hour', new Date(0), new Date()),
    indexes: ['delivery_stat_pkey', 'delivery_stat_delta_by_subscription'],
    blocks: 60,
  },
  {
    does: 'finds the subscriptions with the most failures',
    run: ({ statistics }, { tenantId }) => statistics.worst(tenantId, new Date(0), new Date(), 100),
    indexes: ['delivery_stat_pkey', 'delivery_stat_delta_by_subscription'],
    blocks: 200,
  },
  {
    does: 'deletes old statistics',
    run: ({ purge }) => purge.deleteStatistics('hour', 0),
    indexes: ['delivery_stat_by_age'],
    blocks: 20,
  },
  {
    does: 'deletes the statistics of a tenant',
    run: ({ tenantPurge }) => tenantPurge.deleteOthers(uuidV7(1), 'delivery_stat'),
    indexes: ['delivery_stat_pkey'],
    blocks: 20,
  },
  {
    does: 'finds the owners of keys',
    run: ({ apiKeys }, { tenantId }) => apiKeys.findOwners([hashOf(tenantId)]),
    indexes: ['api_key_hash_key', 'tenant_pkey'],
    blocks: 8,
  },
  {
    does: 'finds sources for their doors',
    isNamed: true,
    run: ({ sources }, { tenantId }) => sources.findServed([tenantId]),
    indexes: ['source_pkey', 'tenant_pkey'],
    blocks: 8,
  },
  {
    does: 'finds the source of a tenant for its own events',
    isNamed: true,
    run: ({ sources }, { tenantId }) => sources.findServedForIngest([tenantId]),
    indexes: ['source_ingest_key', 'tenant_pkey'],
    blocks: 8,
  },
  {
    does: 'finds a tenant',
    run: ({ tenants }, { tenantId }) => tenants.find(tenantId),
    indexes: ['tenant_pkey'],
    partitions: 1,
    blocks: 4,
  },
  {
    does: 'finds a subscription',
    run: ({ subscriptions }, { tenantId, busiest }) => subscriptions.find(tenantId, busiest),
    indexes: ['subscription_pkey|subscription_by_tenant'],
    partitions: 1,
    blocks: 6,
  },
  {
    does: 'loads the subscriptions of a tenant',
    run: ({ subscriptions }, { tenantId }) => subscriptions.all(tenantId),
    indexes: ['subscription_by_tenant'],
    partitions: 1,
    blocks: 200,
  },
  {
    does: 'gives a sign of life',
    run: ({ heartbeats }, { busiest }) => heartbeats.beat(busiest, 'worker', 'a host'),
    indexes: [],
    blocks: 20,
  },
];

/** One search each, with counts, and the indexes of its steps; each also loads what it found. */
function searches(
  by: Record<string, [filter: DeliveryFilter, indexes: string[], found?: 'nothing']>,
): HotStatement[] {
  return Object.entries(by).map(([name, [filter, indexes, found]]) => ({
    does: `searches ${name}`,
    run: ({ search }, { tenantId }) =>
      search.search(tenantId, filter, {
        limit: 50,
        cut: null,
        counts: { by: 'hour', most: 1_000, budgetMs: 10_000 },
        stepsMs: 10_000,
        budgetMs: 10_000,
      }),
    indexes: [...indexes, ...(found === 'nothing' ? [] : LOADED)],
    // How large the last step is follows from the time that the others took.
    blocks: 60_000,
  }));
}

export function repositoriesOf(source: DataSource) {
  const database = new Database(source);
  return {
    apiKeys: new ApiKeyRepository(source.getRepository(ApiKeyEntity), database),
    deadLetters: new DeadLetterRepository(database),
    deliveries: new DeliveryRepository(database),
    events: new EventRepository(database),
    heartbeats: new HeartbeatRepository(database),
    lanes: new LaneRepository(database),
    partitions: new PartitionRepository(database),
    purge: new PurgeRepository(database),
    sources: new SourceRepository(source.getRepository(SourceEntity), database, loadConfig({})),
    statistics: new StatisticsRepository(database),
    search: new SearchRepository(database),
    subscriptions: new SubscriptionRepository(
      source.getRepository(SubscriptionEntity),
      database,
      loadConfig({}),
    ),
    tenantPurge: new TenantPurgeRepository(database),
    tenants: new TenantRepository(source.getRepository(TenantEntity)),
  };
}

function newEvent(tenantId: string, subscriptionId: string): NewEvent {
  const nowMs = Date.now();
  const id = uuidV7(nowMs);
  return {
    id,
    tenantId,
    eventId: id,
    eventType: 'type.1',
    idempotencyKey: id,
    fingerprint: Buffer.alloc(32),
    payload: Buffer.alloc(300, 'x'),
    contentType: null,
    sourceId: null,
    requestId: null,
    receivedAt: new Date(nowMs),
    wantedBy: [{ id: subscriptionId }],
  };
}

const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();
