import type { PurgeFigures, Times } from './growth-purge.js';
import type { PurgeLatency } from './growth-purge-latency.js';
import type { FanOutFigures, PayloadFigures } from './growth-scenarios.js';
import { aligned, machine, nodeCpu, pair, share, titleOf, totalCpu, verdict, whole } from './report.js';
import { EVENTS_PER_SECOND_FOR_LATENCY, type Figures, type RawPosts } from './scenario.js';
import type { Stand } from './stand.js';

export interface GrowthReport {
  command: string;
  versions: Stand['versions'];
  seedRows: number;
  purgeRows: number;
  /** How long it took to fill the tables. */
  seedSeconds: number;
  /** The same scenarios, with empty tables and with full ones. */
  small: Figures[];
  seeded: Figures[];
  many: Figures;
  fanOut: FanOutFigures;
  payloads: PayloadFigures[];
  purged: PurgeFigures;
  purgeLatency: PurgeLatency;
}

/** Of the small case's share of raw POSTs, at least this much is to be left. */
const LEAST_LEFT = 0.8;
/** Milliseconds that a lock may be held which keeps others from a table. */
const MAX_LOCK_MS = 1_000;

/** The generated part of docs/growth.md. */
export function growthSection(report: GrowthReport): string {
  return `\`${report.command}\` on ${machine(report)}; ${whole(report.seedRows)} events with their deliveries, attempts and keys were written in ${whole(report.seedSeconds)} s.

${growthTable(report)}
${payloadTable(report)}
${fanOutLine(report)}

${purgeTable(report)}`;
}

interface Throughput {
  deliveredPerSecond: number;
  raw: RawPosts;
  cpu: Record<string, number | null>;
}

function growthTable({ small, seeded, many, fanOut, purged, seedRows }: GrowthReport): string {
  const [first] = small;
  const wide = small.find(({ subscriptions, batch }) => subscriptions === 500 && batch === 1) ?? first!;
  const during = purged.deliveredDuring / purged.deliveredBefore;
  return aligned([
    [
      'case',
      'delivered/s',
      '÷ raw POSTs',
      'of the small case',
      'CPU µs: api + worker',
      'CPU µs: Postgres',
      'of the small case, all CPU',
      `at ${EVENTS_PER_SECOND_FOR_LATENCY}/s: due to arrival p50 / p99, ms`,
    ],
    ...small.map((figures) => [titleOf(figures), ...cells(figures, null), pair(figures.moderate.arrival)]),
    ...seeded.map((figures, index) => [
      `${titleOf(figures)}, ${whole(seedRows)} deliveries in the tables`,
      ...cells(figures, small[index]!),
      pair(figures.moderate.arrival),
    ]),
    [titleOf(many), ...cells(many, wide), pair(many.moderate.arrival)],
    [`one event for ${whole(fanOut.subscriptions)} subscriptions`, ...cells(fanOut, wide), '-'],
    [
      'during the purge',
      whole(purged.deliveredDuring),
      '-',
      `${share(during)} ${verdict(during >= LEAST_LEFT)}`,
      '-',
      '-',
      '-',
      '-',
    ],
  ]);
}

function cells(figures: Throughput, small: Throughput | null): string[] {
  const ratio = (of: Throughput) => of.deliveredPerSecond / of.raw.perSecond;
  const left = small === null ? NaN : ratio(figures) / ratio(small);
  const cost = (of: Throughput) => totalCpu(of.cpu) / (of.raw.cpu ?? NaN);
  return [
    whole(figures.deliveredPerSecond),
    share(ratio(figures)),
    small === null ? '-' : `${share(left)} ${verdict(left >= LEAST_LEFT)}`,
    whole(nodeCpu(figures.cpu)),
    whole(figures.cpu['postgres'] ?? NaN),
    small === null ? '-' : share(cost(figures) / cost(small)),
  ];
}

function payloadTable({ payloads }: GrowthReport): string {
  const [smallest] = payloads;
  const megabytes = (perSecond: number, bytes: number) => whole((perSecond * bytes) / 1e6);
  return aligned([
    [
      'payload',
      'events',
      'connections',
      'delivered/s',
      'MB/s',
      'raw POSTs/s',
      'raw MB/s',
      '÷ raw',
      'of 1 KiB',
    ],
    ...payloads.map(({ payloadBytes, events, connections, deliveredPerSecond, raw }) => {
      const ratio = deliveredPerSecond / raw.perSecond;
      const left = ratio / (smallest!.deliveredPerSecond / smallest!.raw.perSecond);
      return [
        `${payloadBytes / 1_024} KiB`,
        whole(events),
        whole(connections),
        whole(deliveredPerSecond),
        megabytes(deliveredPerSecond, payloadBytes),
        whole(raw.perSecond),
        megabytes(raw.perSecond, payloadBytes),
        share(ratio),
        `${share(left)} ${verdict(left >= LEAST_LEFT)}`,
      ];
    }),
  ]);
}

function fanOutLine({ fanOut }: GrowthReport): string {
  return `One event for ${whole(fanOut.subscriptions)} subscriptions, ${fanOut.events} times: from the answer to the sender until the last one had it, ${whole(fanOut.acceptToLast.p50)} ms (median; the longest ${whole(fanOut.acceptToLast.p99)} ms).`;
}

function purgeTable({ purged, purgeLatency, purgeRows }: GrowthReport): string {
  const { locks, probes } = purged;
  const most = (times: Times) => `${pair(times)} / ${times.most.toFixed(1)}`;
  const both = ({ before, during }: { before: Times; during: Times }) => [most(before), most(during)];
  return aligned([
    [`purge of a day of ${whole(purgeRows)} deliveries`, 'before', 'during or after'],
    ['seconds that it took', '-', purged.seconds.toFixed(1)],
    [
      'longest lock on a table that others use, ms',
      '-',
      `${whole(locks.longestHeld)} (${locks.heldOn}) ${verdict(locks.longestHeld < MAX_LOCK_MS)}`,
    ],
    ['longest wait for such a lock, ms', '-', `${whole(locks.longestWait)} (${locks.waitedFor})`],
    ['full load: the locks of an insert p50 / p99 / most, ms', ...both(probes.insert)],
    ['full load: a look at a lane p50 / p99 / most, ms', ...both(probes.claim)],
    ['delivered/s under full load', whole(purged.deliveredBefore), whole(purged.deliveredDuring)],
    [
      `at ${EVENTS_PER_SECOND_FOR_LATENCY}/s, a quarter of the rows: due to accept p50 / p99 / most, ms`,
      ...both(purgeLatency.accept),
    ],
    [
      `at ${EVENTS_PER_SECOND_FOR_LATENCY}/s, a quarter of the rows: due to arrival p50 / p99 / most, ms`,
      ...both(purgeLatency.arrival),
    ],
    ['dead rows in all tables but those of today', whole(purged.deadBefore), whole(purged.deadAfter)],
    ['size of all tables but those of today, MB', megabytes(purged.sizeBefore), megabytes(purged.sizeAfter)],
    [
      'what the service logged',
      '-',
      JSON.stringify(purged.counts).replaceAll(/["{}]/g, '').replaceAll(',', ', '),
    ],
  ]);
}

const megabytes = (bytes: number): string => whole(bytes / 1e6);
