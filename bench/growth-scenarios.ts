import { allArrive, allRecorded, checkArrivals, checkDatabase } from './arrivals.js';
import { percentiles, type Percentiles } from './latencies.js';
import type { EventSource } from './event-requests.js';
import type { BenchOptions } from './options.js';
import {
  costs,
  createTenant,
  measureRawPosts,
  PAYLOAD_BYTES,
  readMeters,
  type RawPosts,
} from './scenario.js';
import type { Stand } from './stand.js';

/** What grows, beside the tables: how many subscriptions one event goes to, and how large it is. */

const MEBIBYTE = 1_048_576;
/** Payload that one scenario hands in, at most. */
const MAX_SCENARIO_BYTES = 512 * MEBIBYTE;
/** More would fill the room that the service has for events that are not committed yet. */
const MAX_BYTES_IN_FLIGHT = 16 * MEBIBYTE;
const WARM_UP_EVENTS = 200;

interface Measured {
  deliveredPerSecond: number;
  raw: RawPosts;
  /** Microseconds a delivery, by process. */
  cpu: Record<string, number | null>;
}

export interface PayloadFigures extends Measured {
  payloadBytes: number;
  connections: number;
  events: number;
}

export interface FanOutFigures extends Measured {
  subscriptions: number;
  events: number;
  /** Milliseconds from the answer to the sender until the last subscription had the event. */
  acceptToLast: Percentiles;
}

/** Events of one size to one subscription, as many as the service takes, beside raw POSTs of that size. */
export async function measurePayload(
  payloadBytes: number,
  stand: Stand,
  options: BenchOptions,
): Promise<PayloadFigures> {
  const connections = Math.min(options.connections, Math.floor(MAX_BYTES_IN_FLIGHT / payloadBytes));
  const sized = { ...options, connections };
  const events = Math.min(options.events, Math.floor(MAX_SCENARIO_BYTES / payloadBytes));
  const tenant = await createTenant(stand, 1);
  const load = (keyPrefix: string, count: number) => ({
    ...sourceOf(stand, tenant.apiKey, keyPrefix),
    payloadBytes,
    connections,
    batch: 1,
    events: count,
    seconds: options.seconds,
  });
  await stand.sink.call('reset', 0);
  const warmUp = await stand.load.call('closedLoop', load('warm-up', WARM_UP_EVENTS));
  await allArrive(stand, warmUp.accepted);
  await allRecorded(stand, tenant.id);

  const rawBefore = await measureRawPosts(stand, sized, true, payloadBytes);
  await stand.sink.call('reset', 0);
  const before = await readMeters(stand);
  const run = await stand.load.call('closedLoop', load('run', events));
  const { lastArrivedAt } = await allArrive(stand, run.accepted);
  await allRecorded(stand, tenant.id);
  const after = await readMeters(stand);
  await checkArrivals(stand, 1, run.accepted);
  await checkDatabase(stand, tenant.id, warmUp.accepted + run.accepted);
  return {
    payloadBytes,
    connections,
    events: run.accepted,
    deliveredPerSecond: (run.accepted / (lastArrivedAt - run.startedAt)) * 1000,
    raw: mean(rawBefore, await measureRawPosts(stand, sized, true, payloadBytes)),
    cpu: costs(before, after, run.accepted).cpu,
  };
}

/** One event that every subscription wants, and when the last one has it the next. */
export async function measureFanOut(
  subscriptions: number,
  events: number,
  stand: Stand,
  options: BenchOptions,
): Promise<FanOutFigures> {
  const tenant = await createTenant(stand, subscriptions, () => 'bench.0');
  const sendOne = async (key: string) => {
    await stand.sink.call('reset', 0);
    const load = { connections: 1, batch: 1, events: 1, seconds: options.seconds };
    const run = await stand.load.call('closedLoop', { ...sourceOf(stand, tenant.apiKey, key), ...load });
    const { lastArrivedAt } = await allArrive(stand, subscriptions);
    await allRecorded(stand, tenant.id);
    await checkArrivals(stand, subscriptions, subscriptions);
    return { all: lastArrivedAt - run.startedAt, acceptToLast: lastArrivedAt - run.endedAt };
  };
  await sendOne('warm-up');
  const rawBefore = await measureRawPosts(stand, options, true);
  const before = await readMeters(stand);
  const times: Awaited<ReturnType<typeof sendOne>>[] = [];
  while (times.length < events) times.push(await sendOne(`run-${times.length}`));
  const after = await readMeters(stand);
  const deliveries = events * subscriptions;
  return {
    subscriptions,
    events,
    acceptToLast: percentiles(times.map(({ acceptToLast }) => acceptToLast)),
    deliveredPerSecond: (deliveries / times.reduce((sum, { all }) => sum + all, 0)) * 1000,
    raw: mean(rawBefore, await measureRawPosts(stand, options, true)),
    cpu: costs(before, after, deliveries).cpu,
  };
}

export function sourceOf(stand: Stand, apiKey: string, keyPrefix: string): EventSource {
  return { url: stand.apiUrl, apiKey, keyPrefix, types: 1, payloadBytes: PAYLOAD_BYTES };
}

function mean(before: RawPosts, after: RawPosts): RawPosts {
  return {
    perSecond: (before.perSecond + after.perSecond) / 2,
    cpu: before.cpu === null || after.cpu === null ? null : (before.cpu + after.cpu) / 2,
  };
}
