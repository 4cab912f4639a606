import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readOptions, wholeNumber, type BenchOptions } from './options.js';
import type { Scenario } from './scenario.js';

export const DAY_MS = 86_400_000;
export const DOCUMENT_OF_GROWTH = join('docs', 'growth.md');

const USAGE = `Usage: npm run bench:growth -- [options]

  --seed-rows NUMBER      deliveries to be in the tables, and as many attempts; 10000000 by default. 30 GB of disk
                          and three quarters of an hour with that and as many to purge
  --purge-rows NUMBER     deliveries of the day that is purged, by default the same
  --quick                 a rough answer: 200,000 of each, and smaller scenarios
  --connections NUMBER    of the load generator, 128 by default
  --write                 write the report to ${DOCUMENT_OF_GROWTH}
  --help

  BENCH_DATABASE_URL and BENCH_REDIS_URL as for npm run bench. TMPDIR is where the embedded PostgreSQL has its data.
`;

export interface GrowthOptions {
  bench: BenchOptions;
  seedRows: number;
  purgeRows: number;
  /** Measured with empty tables and with seeded ones. */
  scenarios: Scenario[];
  manySubscriptions: number;
  /** Subscriptions that one event goes to, and how many such events. */
  fanOut: number;
  fanOutEvents: number;
  /** The command ends after this time, whatever hangs. */
  maxMs: number;
}

/**
 * Reads the command line; null when only help was wanted.
 * @throws Error naming the option that is wrong
 */
export function readGrowthOptions(argv: string[]): GrowthOptions | null {
  const { values } = parseArgs({
    args: argv,
    options: {
      'seed-rows': { type: 'string' },
      'purge-rows': { type: 'string' },
      quick: { type: 'boolean', default: false },
      connections: { type: 'string', default: '128' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return null;
  }
  const { quick } = values;
  const seedRows = wholeNumber('seed-rows', values['seed-rows'] ?? (quick ? '200000' : '10000000'), 1e9);
  const purgeRows = wholeNumber('purge-rows', values['purge-rows'] ?? String(seedRows), 1e9);
  const bench = readOptions([`--connections=${values.connections}`, ...(quick ? ['--quick'] : [])]);
  if (!bench) return null;
  const shown = argv.filter((argument) => argument !== '--write');
  return {
    bench: {
      ...bench,
      write: values.write,
      command: ['npm run bench:growth', ...(shown.length > 0 ? ['--', ...shown] : [])].join(' '),
    },
    seedRows,
    purgeRows,
    scenarios: [
      { subscriptions: 1, batch: 1 },
      { subscriptions: 500, batch: 1 },
      { subscriptions: 1, batch: 100 },
    ],
    manySubscriptions: quick ? 2_000 : 10_000,
    fanOut: quick ? 1_000 : 5_000,
    fanOutEvents: quick ? 2 : 5,
    maxMs: 30 * 60_000 + (seedRows + 2 * purgeRows) / 5,
  };
}
