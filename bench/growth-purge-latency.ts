import { allArrive, allRecorded } from './arrivals.js';
import { purge, summary, type PurgeRun, type Times } from './growth-purge.js';
import { sourceOf } from './growth-scenarios.js';
import { monotonicMs } from './latencies.js';
import { createTenant, EVENTS_PER_SECOND_FOR_LATENCY } from './scenario.js';
import type { Stand } from './stand.js';

/** What a sender and a subscriber notice of the purge at a moderate rate. */

const SLICE_SECONDS = 5;

export interface PurgeLatency {
  seconds: number;
  counts: PurgeRun['counts'];
  /** Milliseconds from when an event was due until it was accepted, and until it arrived. */
  accept: { before: Times; during: Times };
  arrival: { before: Times; during: Times };
}

export async function measurePurgeLatency(stand: Stand): Promise<PurgeLatency> {
  const tenant = await createTenant(stand, 1);
  const accept: [number, number][] = [];
  const arrival: [number, number][] = [];
  let isOn = true;

  const load = async (): Promise<void> => {
    for (let slice = 0; isOn; slice++) {
      const events = EVENTS_PER_SECOND_FOR_LATENCY * SLICE_SECONDS;
      await stand.sink.call('reset', events);
      const sent = await stand.load.call('openLoop', {
        ...sourceOf(stand, tenant.apiKey, `slice-${slice}`),
        eventsPerSecond: EVENTS_PER_SECOND_FOR_LATENCY,
        events,
        batch: 1,
      });
      await allArrive(stand, events);
      // The first slice warms up.
      if (slice === 0) continue;
      const arrivedAt = await stand.sink.call('arrivalTimes');
      const toEpoch = Date.now() - monotonicMs();
      sent.dueAt.forEach((due, sequence) => {
        accept.push([due + toEpoch, sent.acceptedAt[sequence]! - due]);
        arrival.push([due + toEpoch, arrivedAt[sequence]! - due]);
      });
    }
  };
  const loading = load();
  let run: PurgeRun;
  try {
    run = await purge(stand);
  } finally {
    isOn = false;
    await loading;
  }
  await allRecorded(stand, tenant.id);
  const split = (times: [number, number][]) => ({
    before: summary(times.filter(([at]) => at < run.from)),
    during: summary(times.filter(([at, took]) => at + took >= run.from && at <= run.to)),
  });
  return {
    seconds: (run.to - run.from) / 1000,
    counts: run.counts,
    accept: split(accept),
    arrival: split(arrival),
  };
}
