import { cpus, totalmem } from 'node:os';
import type { InsertRates } from './references.js';
import type { Percentiles } from './latencies.js';
import { EVENTS_PER_SECOND_FOR_LATENCY, PAYLOAD_BYTES, type Figures, type Latencies } from './scenario.js';
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
function barOf({ subscriptions, batch }: Figures): number {
  if (batch > 1) return 0.3;
  return subscriptions >= 500 ? 0.2 : 0.25;
}

/** Milliseconds, of accepting and of arriving, each. */
const MODERATE_BAR: Percentiles = { p50: 5, p99: 25 };
const HALF_BAR: Pick<Percentiles, 'p99'> = { p99: 100 };
/** Microseconds of CPU time a delivery, api and worker together. */
const CPU_BAR = 220;

export const shareOf = ({ deliveredPerSecond, raw }: Figures): number => deliveredPerSecond / raw.perSecond;

/** The figures, a column for each scenario; a table in Markdown that also reads well on a terminal. */
export function table({ figures }: Report): string {
  const rows: Row[] = [
    ['events', ({ events }) => whole(events)],
    ['connections', ({ connections }) => whole(connections)],
    ['accepted/s', ({ acceptedPerSecond }) => whole(acceptedPerSecond)],
    ['**delivered/s**', ({ deliveredPerSecond }) => `**${whole(deliveredPerSecond)}**`],
    ['raw POSTs/s', ({ raw }) => whole(raw.perSecond)],
    ['**delivered ÷ raw**', (figure) => `**${share(shareOf(figure))}**`],
    ['bar', (figure) => `${barOf(figure).toFixed(2)} ${verdict(shareOf(figure) >= barOf(figure))}`],
    ['accept p50 / p99, ms', ({ accept }) => pair(accept)],
    ...latencyRows(`at ${EVENTS_PER_SECOND_FOR_LATENCY}/s`, MODERATE_BAR, ({ moderate }) => moderate),
    ['half of delivered/s', ({ half }) => whole(half.eventsPerSecond)],
    ...latencyRows('at that', HALF_BAR, ({ half }) => half),
    ...Object.keys(figures[0]?.cpu ?? {}).map((name): Row => [
      `CPU µs a delivery: ${name}`,
      ({ cpu }) => whole(cpu[name] ?? NaN),
    ]),
    [
      `CPU µs a delivery: api + worker (bar ${CPU_BAR})`,
      ({ cpu }) => `${whole(nodeCpu(cpu))} ${verdict(nodeCpu(cpu) <= CPU_BAR)}`,
    ],
    ['CPU µs a delivery: all', ({ cpu }) => whole(totalCpu(cpu))],
    ['CPU µs a raw POST', ({ raw }) => whole(raw.cpu ?? NaN)],
    ['CPU of a raw POST ÷ of a delivery', ({ raw, cpu }) => share((raw.cpu ?? NaN) / totalCpu(cpu))],
    ...Object.keys(figures[0]?.postgresTrips ?? {}).map((role): Row => [
      `Postgres round trips per 1,000: ${role}`,
      ({ postgresTrips }) => (postgresTrips[role] ?? 0).toFixed(1),
    ]),
    ['Redis commands per 1,000', ({ redisTrips }) => redisTrips.toFixed(1)],
    ['events an insert', ({ rowsAStatement }) => rowsAStatement.insert.toFixed(1)],
    ['deliveries a claim', ({ rowsAStatement }) => rowsAStatement.claim.toFixed(1)],
    ['results a write', ({ rowsAStatement }) => rowsAStatement.record.toFixed(1)],
    ['answered 429', ({ refused }) => whole(refused)],
  ];
  return aligned([
    ['', ...figures.map(titleOf)],
    ...rows.map(([name, cell]) => [name, ...figures.map(cell)]),
  ]);
}

export const titleOf = ({ subscriptions, batch }: Figures): string =>
  `${whole(subscriptions)} subscription${subscriptions === 1 ? '' : 's'}${batch === 1 ? '' : `, batches of ${batch}`}`;

type Row = [name: string, cell: (figure: Figures) => string];

function latencyRows(
  load: string,
  bar: Partial<Percentiles>,
  latenciesOf: (figure: Figures) => Latencies,
): Row[] {
  const limits = (['p50', 'p99'] as const).flatMap((key) => {
    const limit = bar[key];
    return limit === undefined ? [] : [{ key, limit }];
  });
  const judged = (value: Percentiles) =>
    `${pair(value)} ${verdict(limits.every(({ key, limit }) => value[key] <= limit))}`;
  const stated = limits.map(({ key, limit }) => `${key} ≤ ${limit}`).join(', ');
  return [
    [`${load}: accept p50 / p99, ms (bar ${stated})`, (figure) => judged(latenciesOf(figure).accept)],
    [
      `${load}: accept to arrival p50 / p99, ms (bar ${stated})`,
      (figure) => judged(latenciesOf(figure).acceptToArrival),
    ],
    [`${load}: both together p50 / p99, ms`, (figure) => pair(latenciesOf(figure).arrival)],
    [`${load}: generator late p50 / p99, ms`, (figure) => pair(latenciesOf(figure).behind)],
  ];
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

export function machine({ versions }: Pick<Report, 'versions'>): string {
  const { model = 'unknown CPU' } = cpus()[0] ?? {};
  const memory = Math.round(totalmem() / 2 ** 30);
  return (
    `${cpus().length} cores (${model.trim()}), ${memory} GiB, Node ${process.versions.node}, ` +
    `PostgreSQL ${versions.postgres} (fsync ${versions.fsync}), Redis ${versions.redis}`
  );
}

/** The section of figures in docs/benchmarks.md. */
export function figuresSection(report: Report): string {
  return `\`${report.command}\` on ${machine(report)}:

${table(report)}
Beside it, what the machine itself can do:

${references(report)}`;
}

/** Columns padded to equal width. */
export function aligned([head = [], ...rows]: string[][]): string {
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

export const verdict = (isMet: boolean): string => (isMet ? 'met' : 'MISSED');

export const share = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(3));

export const pair = ({ p50, p99 }: Percentiles): string => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;

export const whole = (value: number): string =>
  Number.isNaN(value) ? '-' : Math.round(value).toLocaleString('en-US');

/** NaN where the share of one process is not known, here and below. */
export const nodeCpu = ({ api, worker }: Figures['cpu']): number => (api ?? NaN) + (worker ?? NaN);

export const totalCpu = (cpu: Figures['cpu']): number =>
  Object.values(cpu).reduce<number>((total, micros) => total + (micros ?? NaN), 0);
