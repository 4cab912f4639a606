import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { DAY_MS, DOCUMENT_OF_GROWTH, readGrowthOptions, type GrowthOptions } from './growth-options.js';
import { writeSection } from './document.js';
import { measurePurge, postponePurge, purge } from './growth-purge.js';
import { measurePurgeLatency } from './growth-purge-latency.js';
import { growthSection, type GrowthReport } from './growth-report.js';
import { measureFanOut, measurePayload, type PayloadFigures } from './growth-scenarios.js';
import { measure, type Figures, type Scenario } from './scenario.js';
import { seed, tellProgress, type Seed } from './seed.js';
import { Closers, startStand, type Stand } from './stand.js';

/** Bytes on disk that one seeded event takes, with its delivery, attempt, key and indexes, and WAL. */
const BYTES_A_ROW = 2_000;
const RETENTION_MS = 3 * DAY_MS;

const closers = new Closers();

async function run({
  bench,
  seedRows,
  purgeRows,
  scenarios,
  ...sizes
}: GrowthOptions): Promise<GrowthReport> {
  checkDisk(seedRows + purgeRows);
  say('Starting PostgreSQL, Redis, api, worker, scheduler, sink and load generator …');
  const stand = await startStand(bench, closers);
  await postponePurge(stand);
  const measureOne = async (scenario: Scenario, state: string): Promise<Figures> => {
    say(
      `Measuring ${scenario.subscriptions} subscription(s), ${scenario.batch} event(s) a request, ${state} …`,
    );
    const figures = await measure(scenario, stand, bench);
    say(`  ${Math.round(figures.deliveredPerSecond)} delivered/s`);
    return figures;
  };

  const small: Figures[] = [];
  for (const scenario of scenarios) small.push(await measureOne(scenario, 'empty tables'));
  const many = await measureOne({ subscriptions: sizes.manySubscriptions, batch: 1 }, 'empty tables');
  say(`Measuring one event for ${sizes.fanOut} subscriptions …`);
  const fanOut = await measureFanOut(sizes.fanOut, sizes.fanOutEvents, stand, bench);
  const payloads: PayloadFigures[] = [];
  for (const kibibytes of [1, 64, 512]) {
    say(`Measuring payloads of ${kibibytes} KiB …`);
    payloads.push(await measurePayload(kibibytes * 1_024, stand, bench));
  }

  const now = Date.now();
  const seedSeconds = await seedRowsOf(stand, { rows: seedRows, fromMs: now - RETENTION_MS, toMs: now });
  const seeded: Figures[] = [];
  for (const scenario of scenarios) seeded.push(await measureOne(scenario, `${seedRows} deliveries`));

  // So that the keys of today are the old ones, which the next purge forgets.
  say('Waiting for the scheduler to purge what there is …');
  await purge(stand);
  const day = Math.floor((Date.now() - RETENTION_MS) / DAY_MS - 1) * DAY_MS;
  await seedRowsOf(stand, { rows: purgeRows, fromMs: day, toMs: day + DAY_MS });
  say(`Purging a day of ${purgeRows} deliveries under full load …`);
  const purged = await measurePurge(stand, bench);
  await seedRowsOf(stand, { rows: Math.ceil(purgeRows / 4), fromMs: day, toMs: day + DAY_MS });
  say('Purging a day at a moderate rate …');
  const purgeLatency = await measurePurgeLatency(stand);
  return {
    command: bench.command,
    versions: stand.versions,
    seedRows,
    purgeRows,
    seedSeconds,
    small,
    seeded,
    many,
    fanOut,
    payloads,
    purged,
    purgeLatency,
  };
}

async function seedRowsOf(stand: Stand, wanted: Seed): Promise<number> {
  const startedAt = performance.now();
  await postponePurge(stand);
  say(`Filling the tables with ${wanted.rows} events, deliveries and attempts …`);
  await seed(stand.database, stand.databaseUrl, wanted, tellProgress(wanted.rows, say));
  await postponePurge(stand);
  return (performance.now() - startedAt) / 1000;
}

function checkDisk(rows: number): void {
  const { bavail, bsize } = statfsSync(tmpdir());
  if (bavail * bsize > rows * BYTES_A_ROW) return;
  throw new Error(
    `${tmpdir()} has ${Math.round((bavail * bsize) / 1e9)} GB free; this takes ${Math.round((rows * BYTES_A_ROW) / 1e9)} GB. Set TMPDIR to a larger disk, or --seed-rows to fewer.`,
  );
}

async function main(): Promise<void> {
  const options = readGrowthOptions(process.argv.slice(2));
  if (!options) return;
  const timer = setTimeout(() => {
    say('The benchmark took too long.');
    void end(1);
  }, options.maxMs);
  timer.unref();
  const section = growthSection(await run(options));
  process.stdout.write(`\n${section}\n`);
  if (!options.bench.write) return;
  writeSection('growth', section, DOCUMENT_OF_GROWTH);
  say(`Written to ${DOCUMENT_OF_GROWTH}.`);
}

/** For the person who waits; the report goes to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function end(code: number): Promise<void> {
  await closers.close();
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(130));

try {
  await main();
  await end(0);
} catch (error) {
  if (!closers.isClosing)
    say(`\nThe benchmark FAILED: ${error instanceof Error ? error.message : String(error)}`);
  await end(1);
}
