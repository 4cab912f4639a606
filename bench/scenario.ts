import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { cpuMicros } from './cpu-clock.js';
import { percentiles, type Percentiles } from './latencies.js';
import type { EventSource } from './load.js';
import type { BenchOptions } from './options.js';
import { ADMIN_KEY, type Stand } from './stand.js';

export const PAYLOAD_BYTES = 1_024;
export const EVENTS_PER_SECOND_FOR_LATENCY = 200;
/** A request with a batch carries enough for few connections to saturate the service. */
const MAX_BATCH_CONNECTIONS = 8;
const MAX_WARM_UP_EVENTS = 2_000;
const WARM_UP_SECONDS = 2;
const DRAIN_MS = 30_000;

export interface Scenario {
  subscriptions: number;
  batch: number;
}

export interface Figures extends Scenario {
  connections: number;
  events: number;
  refused: number;
  acceptedPerSecond: number;
  deliveredPerSecond: number;
  /** Mean of the raw POSTs right before and right after. */
  raw: RawPosts;
  accept: Percentiles;
  /** At {@link EVENTS_PER_SECOND_FOR_LATENCY}. */
  moderate: { accept: Percentiles; acceptToArrival: Percentiles };
  /** Microseconds a delivery, by process; null where it cannot be read. */
  cpu: Record<string, number | null>;
  /** Statements per 1,000 deliveries, by role. */
  postgresTrips: Record<string, number>;
  /** Commands per 1,000 deliveries, of all roles. */
  redisTrips: number;
  /** How much one statement carries, on the average. */
  rowsAStatement: { insert: number; claim: number; record: number };
}

export interface RawPosts {
  perSecond: number;
  /** Microseconds a POST, of generator and sink together; null where it cannot be read. */
  cpu: number | null;
}

/** Thrown when what arrived is not what was accepted. */
export class CountMismatch extends Error {}

/** Measures one scenario with a tenant of its own, and checks that every event arrived, and arrived once. */
export async function measure(scenario: Scenario, stand: Stand, options: BenchOptions): Promise<Figures> {
  const tenant = await createTenant(stand, scenario.subscriptions);
  const source = (keyPrefix: string): EventSource => ({
    url: stand.apiUrl,
    apiKey: tenant.apiKey,
    keyPrefix,
    types: scenario.subscriptions,
    payloadBytes: PAYLOAD_BYTES,
  });
  const connections =
    scenario.batch === 1 ? options.connections : Math.min(options.connections, MAX_BATCH_CONNECTIONS);
  const load = { batch: scenario.batch, connections };

  const warmUpEvents = Math.min(options.events, MAX_WARM_UP_EVENTS);
  await stand.sink.call('reset', 0);
  const warmUp = await stand.load.call('closedLoop', {
    ...source('warm-up'),
    ...load,
    events: warmUpEvents,
    seconds: WARM_UP_SECONDS,
  });
  await allArrive(stand, warmUp.accepted);
  await allRecorded(stand, tenant.id);

  const rawBefore = await measureRawPosts(stand, options, true);
  await stand.sink.call('reset', 0);
  const before = await readMeters(stand);
  const run = await stand.load.call('closedLoop', {
    ...source('run'),
    ...load,
    events: options.events,
    seconds: options.seconds,
  });
  const { lastArrivedAt } = await allArrive(stand, run.accepted);
  await allRecorded(stand, tenant.id);
  const after = await readMeters(stand);
  await checkArrivals(stand, scenario, run.accepted);
  const rawAfter = await measureRawPosts(stand, options, true);

  const moderate = await measureLatency(stand, source('latency'), options.latencySeconds);
  await allRecorded(stand, tenant.id);
  await checkDatabase(stand, tenant.id, warmUp.accepted + run.accepted + moderate.events);

  return {
    ...scenario,
    connections,
    events: run.accepted,
    refused: run.refused,
    acceptedPerSecond: (run.accepted / (run.endedAt - run.startedAt)) * 1000,
    deliveredPerSecond: (run.accepted / (lastArrivedAt - run.startedAt)) * 1000,
    raw: {
      perSecond: (rawBefore.perSecond + rawAfter.perSecond) / 2,
      cpu: rawBefore.cpu === null || rawAfter.cpu === null ? null : (rawBefore.cpu + rawAfter.cpu) / 2,
    },
    accept: run.accept,
    moderate,
    ...costs(before, after, run.accepted),
  };
}

/** Bare POSTs from the load generator to the sink. */
export async function measureRawPosts(
  stand: Stand,
  options: BenchOptions,
  isSigned: boolean,
): Promise<RawPosts> {
  await stand.sink.call('reset', 0);
  const cpuOfBoth = () => [stand.load.pid, stand.sink.pid].map(cpuMicros);
  const [loadBefore, sinkBefore] = cpuOfBoth();
  const { posts, perSecond } = await stand.load.call('rawPosts', {
    url: stand.sinkUrl,
    isSigned,
    connections: options.connections,
    seconds: options.referenceSeconds,
    payloadBytes: PAYLOAD_BYTES,
  });
  const [loadAfter, sinkAfter] = cpuOfBoth();
  if (loadBefore == null || sinkBefore == null || loadAfter == null || sinkAfter == null) {
    return { perSecond, cpu: null };
  }
  return { perSecond, cpu: (loadAfter - loadBefore + sinkAfter - sinkBefore) / posts };
}

async function measureLatency(stand: Stand, source: EventSource, seconds: number) {
  const events = EVENTS_PER_SECOND_FOR_LATENCY * seconds;
  await stand.sink.call('reset', events);
  const { acceptedAt, accept } = await stand.load.call('openLoop', {
    ...source,
    eventsPerSecond: EVENTS_PER_SECOND_FOR_LATENCY,
    seconds,
  });
  await allArrive(stand, events);
  const arrivedAt = await stand.sink.call('arrivalTimes');
  const acceptToArrival = percentiles(arrivedAt.map((time, sequence) => time - acceptedAt[sequence]!));
  return { events, accept, acceptToArrival };
}

/** Each subscription wants one event type and has a path of its own at the sink. */
async function createTenant(stand: Stand, subscriptions: number): Promise<{ id: string; apiKey: string }> {
  const { id, api_key: apiKey } = await create(stand, ADMIN_KEY, '/tenants', { name: 'benchmark' });
  const numbers = Array.from({ length: subscriptions }, (_, number) => number);
  const creator = async (): Promise<void> => {
    for (let number = numbers.pop(); number !== undefined; number = numbers.pop()) {
      const subscription = { target_url: `${stand.sinkUrl}/to/${number}`, event_types: [`bench.${number}`] };
      await create(stand, apiKey!, '/subscriptions', subscription);
    }
  };
  await Promise.all(Array.from({ length: 8 }, creator));
  return { id: id!, apiKey: apiKey! };
}

async function create(
  stand: Stand,
  key: string,
  path: string,
  body: unknown,
): Promise<Record<string, string>> {
  const answer = await request(`${stand.apiUrl}/api/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await answer.body.text();
  if (answer.statusCode !== 201) throw new Error(`POST ${path} was answered ${answer.statusCode}: ${text}`);
  return JSON.parse(text) as Record<string, string>;
}

async function allArrive(stand: Stand, count: number) {
  const result = await stand.sink.call('until', count, DRAIN_MS);
  if (result.arrived < count) {
    throw new CountMismatch(`${result.arrived} of ${count} deliveries arrived within ${DRAIN_MS / 1000} s`);
  }
  return result;
}

async function allRecorded(stand: Stand, tenantId: string): Promise<void> {
  const deadline = Date.now() + DRAIN_MS;
  for (;;) {
    const { rows } = await stand.database.query<{ open: number }>(
      'select count(*)::int as open from delivery where tenant_id = $1 and next_attempt_at is not null',
      [tenantId],
    );
    if (rows[0]!.open === 0) return;
    if (Date.now() > deadline) throw new CountMismatch(`${rows[0]!.open} deliveries stay open in Postgres`);
    await sleep(50);
  }
}

/** What the sink counted, subscription by subscription: none lost, none twice. */
async function checkArrivals(stand: Stand, { subscriptions }: Scenario, accepted: number): Promise<void> {
  const counts = await stand.sink.call('counts');
  for (let number = 0; number < subscriptions; number++) {
    const expected = Math.ceil((accepted - number) / subscriptions);
    const arrived = counts[`/to/${number}`] ?? 0;
    if (arrived !== Math.max(expected, 0)) {
      throw new CountMismatch(
        `/to/${number} got ${arrived} deliveries where ${expected} were accepted for it`,
      );
    }
  }
}

/** The same sums by Postgres' account. */
async function checkDatabase(stand: Stand, tenantId: string, expected: number): Promise<void> {
  const { rows } = await stand.database.query<Record<string, number>>(
    `select (select count(*)::int from event where tenant_id = $1) as events,
            (select count(*)::int from delivery where tenant_id = $1) as deliveries,
            (select count(*)::int from delivery where tenant_id = $1 and status = 'delivered') as delivered,
            (select count(*)::int from delivery d join delivery_attempt a on a.delivery_id = d.id
             where d.tenant_id = $1) as attempts`,
    [tenantId],
  );
  for (const [name, count] of Object.entries(rows[0]!)) {
    if (count !== expected)
      throw new CountMismatch(`${expected} events were accepted; Postgres has ${count} ${name}`);
  }
}

type Meters = Awaited<ReturnType<typeof readMeters>>;

async function readMeters({ roles, sink, load, postgresPid, redisPid }: Stand) {
  const roundTrips = await Promise.all(
    Object.entries(roles).map(async ([role, program]) => ({ role, ...(await program.call('roundTrips')) })),
  );
  const cpu: Record<string, number | null> = {
    api: cpuMicros(roles.api.pid),
    worker: cpuMicros(roles.worker.pid),
    scheduler: cpuMicros(roles.scheduler.pid),
    postgres: postgresPid === null ? null : cpuMicros(postgresPid),
    redis: redisPid === null ? null : cpuMicros(redisPid),
    sink: cpuMicros(sink.pid),
    generator: cpuMicros(load.pid),
  };
  return { cpu, roundTrips };
}

function costs(before: Meters, after: Meters, deliveries: number) {
  const cpu = Object.entries(after.cpu).map(([name, micros]) => {
    const start = before.cpu[name] ?? null;
    return [name, micros === null || start === null ? null : (micros - start) / deliveries] as const;
  });
  const trips = after.roundTrips.map(({ role, statements, redisCommands }, index) => {
    const start = before.roundTrips[index]!;
    const sent = Object.entries(statements).map(
      ([name, count]) => [name, count - (start.statements[name] ?? 0)] as const,
    );
    return {
      role,
      sent: Object.fromEntries(sent),
      total: sent.reduce((sum, [, count]) => sum + count, 0),
      redis: redisCommands - start.redisCommands,
    };
  });
  const calls = (name: string) => trips.reduce((sum, { sent }) => sum + (sent[name] ?? 0), 0);
  const perThousand = (count: number) => (count / deliveries) * 1_000;
  return {
    cpu: Object.fromEntries(cpu),
    postgresTrips: Object.fromEntries(trips.map(({ role, total }) => [role, perThousand(total)])),
    redisTrips: perThousand(trips.reduce((sum, { redis }) => sum + redis, 0)),
    rowsAStatement: {
      insert: deliveries / calls('insert-events'),
      claim: deliveries / calls('claim-due'),
      record: deliveries / calls('record-results'),
    },
  };
}
