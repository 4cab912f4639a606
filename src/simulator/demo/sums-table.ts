import type { Sums } from './account.js';

const COLUMNS: readonly [title: string, cell: (sums: Sums) => string][] = [
  ['accepted', ({ accepted }) => String(accepted)],
  ['deliveries', ({ deliveries }) => String(deliveries)],
  ['delivered', ({ delivered }) => String(delivered)],
  ['retried', ({ retried }) => String(retried)],
  ['dead', ({ dead }) => String(dead)],
  ['cancelled', ({ cancelled }) => String(cancelled)],
  ['still due', ({ due }) => String(due)],
  ['duplicates', ({ duplicates }) => String(duplicates)],
  ['p50', ({ latencies }) => milliseconds(percentile(latencies, 50))],
  ['p99', ({ latencies }) => milliseconds(percentile(latencies, 99))],
];

/** A row a subscription and one for all; p50 and p99 run from accept to first arrival. */
export function sumsTable(rows: readonly [name: string, sums: Sums][]): string {
  const total: [string, Sums] = ['all', together(rows.map(([, sums]) => sums))];
  const lines = [
    ['', ...COLUMNS.map(([title]) => title)],
    ...[...rows, total].map(([name, sums]) => [name, ...COLUMNS.map(([, cell]) => cell(sums))]),
  ];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => `${line.map((cell, column) => pad(cell, column)).join('  ')}\n`).join('');

  function pad(cell: string, column: number): string {
    const width = widths?.[column] ?? 0;
    return column === 0 ? cell.padEnd(width) : cell.padStart(width);
  }
}

/** The smallest value that at least `percent` of the ascending values do not exceed; undefined for none. */
export function percentile(ascending: readonly number[], percent: number): number | undefined {
  return ascending[Math.max(Math.ceil((percent / 100) * ascending.length) - 1, 0)];
}

/** The same events for each subscription: what was accepted counts once. */
function together(sums: readonly Sums[]): Sums {
  const all = (value: (sums: Sums) => number) => sums.reduce((total, one) => total + value(one), 0);
  return {
    accepted: Math.max(0, ...sums.map(({ accepted }) => accepted)),
    deliveries: all(({ deliveries }) => deliveries),
    delivered: all(({ delivered }) => delivered),
    retried: all(({ retried }) => retried),
    dead: all(({ dead }) => dead),
    cancelled: all(({ cancelled }) => cancelled),
    due: all(({ due }) => due),
    duplicates: all(({ duplicates }) => duplicates),
    latencies: sums.flatMap(({ latencies }) => latencies).sort((a, b) => a - b),
  };
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toFixed(value < 100 ? 1 : 0)} ms`;
}
