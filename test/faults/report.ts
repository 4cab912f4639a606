import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../support/markdown.js';
import type { Account } from './account.js';
import type { Fault } from './fault-table.js';

/** What came of a fault: an account a round, or the words with which a round ended that could not be closed. */
export interface Played {
  fault: Fault;
  accounts: Account[];
  failure: string | null;
}

export interface Circumstances {
  seed: number;
  rounds: number;
  postgres: string;
  redis: string;
}

const DOCUMENT = join(ROOT, 'docs/reliability.md');
const BEGIN = '<!-- results: written by the command -->';
const END = '<!-- end of results -->';

/** Puts the tables into docs/reliability.md. */
export function writeResults(played: Played[], circumstances: Circumstances): void {
  const text = readFileSync(DOCUMENT, 'utf8');
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`${DOCUMENT} has no place for results`);
  writeFileSync(DOCUMENT, `${before}${BEGIN}\n\n${results(played, circumstances)}\n\n${END}${after}`);
}

/** One line for the terminal. */
export function summary({ name }: Fault, account: Account): string {
  const { deliveries, delivered, dead, cancelled, duplicates, drainedAfterMs, longestLagMs } = account;
  const kinds = `${account.forgotten} forgotten, ${account.unheard} unheard`;
  const sums = `${deliveries} deliveries = ${delivered} delivered + ${dead} dead + ${cancelled} cancelled`;
  const times = `flows after ${inSeconds(account.flowsAfterMs)} s, all ended after ${inSeconds(drainedAfterMs)} s, longest wait ${inSeconds(longestLagMs)} s`;
  return `${name}: ${account.accepted} events, ${sums}; ${duplicates} twice (${kinds}); ${times}\n`;
}

function results(played: Played[], { seed, rounds, postgres, redis }: Circumstances): string {
  const model = cpus()[0]?.model ?? 'unknown processor';
  const memory = Math.round(totalmem() / 2 ** 30);
  const failed = played.filter((one) => !isHeld(one)).length;
  const machine = `${availableParallelism()} cores (${model}), ${memory} GiB, Node ${process.versions.node}, PostgreSQL ${postgres}, Redis ${redis}`;
  const verdict = failed === 0 ? 'All of them held.' : `**${failed} of them did not hold.**`;
  return [
    `${played.length} faults, ${rounds} rounds each, on ${machine}, with the seed ${seed}. ${verdict}`,
    ...[...new Set(played.map(({ fault }) => fault.group))].flatMap((group) => [
      `### ${heading(group)}`,
      table(played.filter(({ fault }) => fault.group === group)),
    ]),
  ].join('\n\n');
}

function heading(group: string): string {
  return group[0]!.toUpperCase() + group.slice(1);
}

function table(played: Played[]): string {
  const head = [
    'what happens',
    'events',
    'deliveries = delivered + dead + cancelled',
    'accepted twice',
    'forgotten + unheard',
    'flows again after, s',
    'all ended after, s',
    'longest wait, s',
  ];
  const rows = played.map(({ fault, accounts, failure }) => {
    const sum = (of: (account: Account) => number): number => accounts.reduce((all, one) => all + of(one), 0);
    const range = (of: (account: Account) => number | null): string => {
      const values = accounts
        .map(of)
        .filter((value) => value !== null)
        .toSorted((a, b) => a - b);
      return values.length === 0
        ? '–'
        : `${inSeconds(values[values.length >> 1]!)} (${inSeconds(values.at(-1)!)})`;
    };
    const sums = [({ delivered }: Account) => delivered, ({ dead }: Account) => dead];
    const parts = [...sums, ({ cancelled }: Account) => cancelled].map((of) => grouped(sum(of))).join(' + ');
    const bad = failure ?? accounts.flatMap(({ violations }) => violations)[0];
    return [
      bad === undefined ? fault.name : `${fault.name}. **Did not hold: ${bad.replaceAll('|', '/')}**`,
      grouped(sum(({ accepted }) => accepted)),
      `${grouped(sum(({ deliveries }) => deliveries))} = ${parts}`,
      grouped(sum(({ duplicates }) => duplicates)),
      `${sum(({ forgotten }) => forgotten)} + ${sum(({ unheard }) => unheard)}`,
      range(({ flowsAfterMs }) => flowsAfterMs),
      range(({ drainedAfterMs }) => drainedAfterMs),
      range(({ longestLagMs }) => longestLagMs),
    ];
  });
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return aligned([head, rule, ...rows]);
}

/** As Prettier writes a table. */
function aligned(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row, line) => {
      const cells = row.map((cell, column) => {
        const width = widths[column]!;
        if (line === 1) return column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      });
      return `| ${cells.join(' | ')} |`;
    })
    .join('\n');
}

function isHeld({ accounts, failure }: Played): boolean {
  return failure === null && accounts.every(({ violations }) => violations.length === 0);
}

function inSeconds(ms: number | null): string {
  return ms === null ? '–' : (ms / 1000).toFixed(1);
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
