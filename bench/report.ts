import { cpus, totalmem } from 'node:os';
import type { InsertRates } from './references.js';
import type { Percentiles } from './latencies.js';
import { EVENTS_PER_SECOND_FOR_LATENCY, PAYLOAD_BYTES, type Figures } from './scenario.js';
import type { Stand } from './stand.js';

export interface Report {
  command: string;
  figures: Figures[];
  /** Unsigned POSTs a second. */
  plainPosts: number;
  inserts: InsertRates;
  diskSyncMicros: number;
  versions: Stand['versions'];
}

/** The least that delivered/s may be, as a share of the raw POSTs a second of the same run. */
const BARS = [
  { fromSubscriptions: 500, share: 0.08 },
  { fromSubscriptions: 1, share: 0.12 },
];

/** The bar that a scenario has to reach. */
const barOf = ({ subscriptions }: Figures): number =>
  BARS.find(({ fromSubscriptions }) => subscriptions >= fromSubscriptions)?.share ?? 0;

export const shareOf = ({ deliveredPerSecond, raw }: Figures): number => deliveredPerSecond / raw.perSecond;

/** The figures, a column for each scenario; a table in Markdown that also reads well on a terminal. */
export function table({ figures }: Report): string {
  const rows: [string, (figure: Figures) => string][] = [
    ['events', ({ events }) => whole(events)],
    ['connections', ({ connections }) => whole(connections)],
    ['accepted/s', ({ acceptedPerSecond }) => whole(acceptedPerSecond)],
    ['**delivered/s**', ({ deliveredPerSecond }) => `**${whole(deliveredPerSecond)}**`],
    ['raw POSTs/s', ({ raw }) => whole(raw.perSecond)],
    ['**delivered ÷ raw**', (figure) => `**${share(shareOf(figure))}**`],
    ['bar', (figure) => `${barOf(figure).toFixed(2)} ${shareOf(figure) >= barOf(figure) ? 'met' : 'MISSED'}`],
    ['accept p50 / p99, ms', ({ accept }) => pair(accept)],
    [`at ${EVENTS_PER_SECOND_FOR_LATENCY}/s: accept p50 / p99, ms`, ({ moderate }) => pair(moderate.accept)],
    [
      `at ${EVENTS_PER_SECOND_FOR_LATENCY}/s: accept to arrival p50 / p99, ms`,
      ({ moderate }) => pair(moderate.acceptToArrival),
    ],
    ...Object.keys(figures[0]?.cpu ?? {}).map((name): [string, (figure: Figures) => string] => [
      `CPU µs a delivery: ${name}`,
      ({ cpu }) => whole(cpu[name] ?? NaN),
    ]),
    ['CPU µs a delivery: all', ({ cpu }) => whole(totalCpu(cpu))],
    ['CPU µs a raw POST', ({ raw }) => whole(raw.cpu ?? NaN)],
    ['CPU of a raw POST ÷ of a delivery', ({ raw, cpu }) => share((raw.cpu ?? NaN) / totalCpu(cpu))],
    ...Object.keys(figures[0]?.postgresTrips ?? {}).map((role): [string, (figure: Figures) => string] => [
      `Postgres round trips per 1,000: ${role}`,
      ({ postgresTrips }) => (postgresTrips[role] ?? 0).toFixed(1),
    ]),
    ['Redis commands per 1,000', ({ redisTrips }) => redisTrips.toFixed(1)],
    ['events an insert', ({ rowsAStatement }) => rowsAStatement.insert.toFixed(1)],
    ['deliveries a claim', ({ rowsAStatement }) => rowsAStatement.claim.toFixed(1)],
    ['results a write', ({ rowsAStatement }) => rowsAStatement.record.toFixed(1)],
    ['answered 429', ({ refused }) => whole(refused)],
  ];
  const titles = figures.map(
    ({ subscriptions, batch }) =>
      `${whole(subscriptions)} subscription${subscriptions === 1 ? '' : 's'}${batch === 1 ? '' : `, batches of ${batch}`}`,
  );
  return aligned([['', ...titles], ...rows.map(([name, cell]) => [name, ...figures.map(cell)])]);
}

export function references({ figures, plainPosts, inserts, diskSyncMicros }: Report): string {
  const posts = figures.map(({ raw }) => raw.perSecond);
  return aligned([
    ['reference', 'a second'],
    [
      `raw undici POSTs of ${whole(PAYLOAD_BYTES)} bytes, signed, generator to sink`,
      `${whole(Math.min(...posts))} to ${whole(Math.max(...posts))}`,
    ],
    ['the same unsigned', whole(plainPosts)],
    ['rows inserted, 100 a commit, 2 connections', whole(inserts.batchedRows)],
    ['rows inserted, 1 a commit, 8 connections', whole(inserts.singleRows)],
    ['fdatasync of 8 KiB, median', `${whole(1e6 / diskSyncMicros)} (${whole(diskSyncMicros)} µs)`],
  ]);
}

export function machine({ versions }: Report): string {
  const { model = 'unknown CPU' } = cpus()[0] ?? {};
  const memory = Math.round(totalmem() / 2 ** 30);
  return (
    `${cpus().length} cores (${model.trim()}), ${memory} GiB, Node ${process.versions.node}, ` +
    `PostgreSQL ${versions.postgres} (fsync ${versions.fsync}), Redis ${versions.redis}`
  );
}

/** docs/benchmarks.md */
export function document(report: Report): string {
  return `# Benchmarks

\`${report.command}\` on ${machine(report)}.

Written by that command with \`--write\`. Everything runs on one machine and shares its cores: api, worker and
scheduler as separate processes, PostgreSQL, Redis, the load generator and the sink that receives. So absolute
figures say more about the machine than about Posthorn, and swing with whatever else it does. **Only ratios within
one run compare**, above all delivered/s ÷ raw POSTs/s.

${table(report)}
Beside it, what the machine itself can do:

${references(report)}
## What the rows mean

- **accepted/s**: events answered 202, that is committed, while every connection sends its next request as soon as the
  last one is answered. Payloads have ${whole(PAYLOAD_BYTES)} bytes, every event has an idempotency key, and every event type goes to one
  subscription; with 500 subscriptions the types take turns.
- **delivered/s**: deliveries divided by the time from the first request to the last arrival at the sink, so a queue
  that is left over counts against it.
- **raw POSTs/s**: bare undici POSTs of the same size with the headers and signatures of a delivery, from the generator
  to the same sink, right before and right after the scenario; nothing is stored, retried or logged. It is what
  delivering would cost if it were nothing but signing and HTTP.
- **bar**: the least share of that which a change may leave (0.12 with 1 subscription, 0.08 with 500).
- **accept**: from sending the request to its answer. Under saturation it is mostly waiting; the lines "at ${EVENTS_PER_SECOND_FOR_LATENCY}/s" are
  taken at that fixed rate, as is **accept to arrival**, from the answer in the sender's hands to the request's head
  at the sink.
- **CPU a delivery**: user and system time from /proc until every result is recorded, children included, divided by the
  deliveries. Beside it the same of a raw POST, generator and sink: on a machine that other programs use too, the
  quotient of the two is steadier than that of the rates. \`LOG_LEVEL\` is the default, so the worker writes a line an
  attempt, to a file.
- **Postgres round trips, Redis commands**: what the roles sent, counted in their drivers.
- **events an insert, deliveries a claim, results a write**: how many rows one statement carried on average.

The run fails unless every accepted event arrived exactly once, by the count of the sink for each subscription and by
that of Postgres.
`;
}

/** Columns padded to equal width. */
function aligned([head = [], ...rows]: string[][]): string {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |\n`;
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [head, rule, ...rows].map(line).join('');
}

const share = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(3));

const pair = ({ p50, p99 }: Percentiles): string => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;

const whole = (value: number): string =>
  Number.isNaN(value) ? '-' : Math.round(value).toLocaleString('en-US');

/** NaN where the share of one process is not known. */
const totalCpu = (cpu: Figures['cpu']): number =>
  Object.values(cpu).reduce<number>((total, micros) => total + (micros ?? NaN), 0);
