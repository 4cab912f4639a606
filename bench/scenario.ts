import { request } from 'undici';
import { allArrive, allRecorded, checkArrivals, checkDatabase } from './arrivals.js';
import { cpuMicros } from './cpu-clock.js';
import { percentiles, type Percentiles } from './latencies.js';
import type { EventSource } from './event-requests.js';
import type { BenchOptions } from './options.js';
import { startProfiling, type DeliveryProfile } from './profile-run.js';
import { ADMIN_KEY, type Stand } from './stand.js';

export const PAYLOAD_BYTES = 1_024;
export const EVENTS_PER_SECOND_FOR_LATENCY = 200;
/** A request with a batch carries enough for few connections to saturate the service. */
const MAX_BATCH_CONNECTIONS = 8;
/** Until V8 has compiled what is hot: a service runs for days. */
const MAX_WARM_UP_EVENTS = 40_000;
const WARM_UP_SECONDS = 12;
const LATENCY_WARM_UP_SECONDS = 1;

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
  moderate: Latencies;
  /** At half of `deliveredPerSecond`. */
  half: Latencies;
  /** Null unless one was asked for. */
  profile: DeliveryProfile | null;
  /** Microseconds a delivery, by process; null where it cannot be read. */
  cpu: Record<string, number | null>;
  /** Statements per 1,000 deliveries, by role. */
  postgresTrips: Record<string, number>;
  /** Commands per 1,000 deliveries, of all roles. */
  redisTrips: number;
  /** How much one statement carries, on the average. */
  rowsAStatement: { insert: number; claim: number; record: number };
}

/** In milliseconds, of an open loop. */
export interface Latencies {
  events: number;
  eventsPerSecond: number;
  /** From the time an event was due to the time it was sent: how late the generator itself is. */
  behind: Percentiles;
  /** From the time it was due to its answer. */
  accept: Percentiles;
  acceptToArrival: Percentiles;
  /** From the time it was due to its arrival at the sink. */
  arrival: Percentiles;
}

export interface RawPosts {
  perSecond: number;
  /** Microseconds a POST, of generator and sink together; null where it cannot be read. */
  cpu: number | null;
}

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
  const { profileFolder } = options;
  const profiling =
    profileFolder === null ? null : await startProfiling(stand, profileFolder, titleOf(scenario));
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
  const profile = (await profiling?.stop(run.accepted)) ?? null;
  await checkArrivals(stand, scenario.subscriptions, run.accepted);
  const rawAfter = await measureRawPosts(stand, options, true);

  const deliveredPerSecond = (run.accepted / (lastArrivedAt - run.startedAt)) * 1000;
  const seconds = options.latencySeconds;
  const moderate = await measureLatency(stand, source('moderate'), {
    eventsPerSecond: EVENTS_PER_SECOND_FOR_LATENCY,
    batch: 1,
    seconds,
  });
  await allRecorded(stand, tenant.id);
  const half = await measureLatency(stand, source('half'), {
    eventsPerSecond: deliveredPerSecond / 2,
    batch: scenario.batch,
    seconds,
  });
  await allRecorded(stand, tenant.id);
  const events = [warmUp.accepted, run.accepted, moderate.events, half.events];
  await checkDatabase(
    stand,
    tenant.id,
    events.reduce((sum, count) => sum + count),
  );

  return {
    ...scenario,
    connections,
    events: run.accepted,
    refused: run.refused,
    acceptedPerSecond: (run.accepted / (run.endedAt - run.startedAt)) * 1000,
    deliveredPerSecond,
    raw: {
      perSecond: (rawBefore.perSecond + rawAfter.perSecond) / 2,
      cpu: rawBefore.cpu === null || rawAfter.cpu === null ? null : (rawBefore.cpu + rawAfter.cpu) / 2,
    },
    accept: run.accept,
    moderate,
    half,
    profile,
    ...costs(before, after, run.accepted),
  };
}

const titleOf = ({ subscriptions, batch }: Scenario): string =>
  `${subscriptions}-subscriptions-batch-${batch}`;

/** Bare POSTs from the load generator to the sink. */
export async function measureRawPosts(
  stand: Stand,
  options: BenchOptions,
  isSigned: boolean,
  payloadBytes = PAYLOAD_BYTES,
): Promise<RawPosts> {
  await stand.sink.call('reset', 0);
  const cpuOfBoth = () => [stand.load.pid, stand.sink.pid].map(cpuMicros);
  const [loadBefore, sinkBefore] = cpuOfBoth();
  const { posts, perSecond } = await stand.load.call('rawPosts', {
    url: stand.sinkUrl,
    isSigned,
    connections: options.connections,
    seconds: options.referenceSeconds,
    payloadBytes,
  });
  const [loadAfter, sinkAfter] = cpuOfBoth();
  if (loadBefore == null || sinkBefore == null || loadAfter == null || sinkAfter == null) {
    return { perSecond, cpu: null };
  }
  return { perSecond, cpu: (loadAfter - loadBefore + sinkAfter - sinkBefore) / posts };
}

/**
 * Latencies at a load that does not depend on the answers. What is due in the first second only warms up connections.
 */
async function measureLatency(
  stand: Stand,
  source: EventSource,
  load: { eventsPerSecond: number; batch: number; seconds: number },
): Promise<Latencies> {
  const events = Math.ceil(load.eventsPerSecond * (load.seconds + LATENCY_WARM_UP_SECONDS));
  await stand.sink.call('reset', events);
  const sent = await stand.load.call('openLoop', { ...source, ...load, events });
  await allArrive(stand, events);
  const arrivedAt = await stand.sink.call('arrivalTimes');
  const first = Math.round(load.eventsPerSecond * LATENCY_WARM_UP_SECONDS);
  const between = (from: Float64Array, to: Float64Array) =>
    percentiles(to.map((time, sequence) => time - from[sequence]!).subarray(first));
  return {
    events,
    eventsPerSecond: load.eventsPerSecond,
    behind: between(sent.dueAt, sent.sentAt),
    accept: between(sent.dueAt, sent.acceptedAt),
    acceptToArrival: between(sent.acceptedAt, arrivedAt),
    arrival: between(sent.dueAt, arrivedAt),
  };
}

/** Each subscription wants one event type, by default its own, and has a path of its own at the sink. */
export async function createTenant(
  stand: Stand,
  subscriptions: number,
  typeOf = (number: number) => `bench.${number}`,
): Promise<{ id: string; apiKey: string }> {
  const { id, api_key: apiKey } = await create(stand, ADMIN_KEY, '/tenants', { name: 'benchmark' });
  const numbers = Array.from({ length: subscriptions }, (_, number) => number);
  const creator = async (): Promise<void> => {
    for (let number = numbers.pop(); number !== undefined; number = numbers.pop()) {
      const subscription = { target_url: `${stand.sinkUrl}/to/${number}`, event_types: [typeOf(number)] };
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

type Meters = Awaited<ReturnType<typeof readMeters>>;

export async function readMeters({ roles, sink, load, postgresPid, redisPid }: Stand) {
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

export function costs(before: Meters, after: Meters, deliveries: number) {
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
