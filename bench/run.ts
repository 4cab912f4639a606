import { DOCUMENT, writeSection } from './document.js';
import { readOptions, type BenchOptions } from './options.js';
import { hottestFunctions, profileSection, profileTables } from './profile-report.js';
import { measureDiskSync, measureInserts } from './references.js';
import { figuresSection, machine, references, shareOf, table, type Report } from './report.js';
import { measure, measureRawPosts, PAYLOAD_BYTES, type Figures } from './scenario.js';
import { seed, tellProgress } from './seed.js';
import { Closers, startStand } from './stand.js';

/** The benchmark ends after this time, whatever hangs, and this much later for each row that it seeds. */
const MAX_MS = 5 * 60_000;
const MAX_MS_A_SEEDED_ROW = 0.2;
const RETENTION_MS = 72 * 3_600_000;

const closers = new Closers();

async function bench(options: BenchOptions): Promise<Report> {
  say('Starting PostgreSQL, Redis, api, worker, scheduler, sink and load generator …');
  const stand = await startStand(options, closers);
  const diskSyncMicros = measureDiskSync(stand.folder);
  say('Measuring inserts …');
  const inserts = await measureInserts(stand, PAYLOAD_BYTES, options.referenceSeconds);
  const plainPosts = (await measureRawPosts(stand, options, false)).perSecond;
  if (options.seedRows > 0) {
    say(`Filling the tables with ${options.seedRows} events, deliveries and attempts …`);
    const past = { rows: options.seedRows, fromMs: Date.now() - RETENTION_MS, toMs: Date.now() };
    await seed(stand.database, stand.databaseUrl, past, tellProgress(options.seedRows, say));
  }
  const figures: Figures[] = [];
  for (const batch of options.batches) {
    for (const subscriptions of options.subscriptions) {
      say(`Measuring ${subscriptions} subscription(s), ${batch} event(s) a request …`);
      const measured = await measure({ subscriptions, batch }, stand, options);
      say(`  ${Math.round(measured.deliveredPerSecond)} delivered/s, ${shareOf(measured).toFixed(3)} of raw`);
      figures.push(measured);
    }
  }
  return { command: options.command, figures, plainPosts, inserts, diskSyncMicros, versions: stand.versions };
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (!options) return;
  endAfter(MAX_MS + options.seedRows * MAX_MS_A_SEEDED_ROW);
  const report = await bench(options);
  process.stdout.write(`\n${machine(report)}\n\n${table(report)}\n${references(report)}\n`);
  process.stdout.write('Every accepted event arrived exactly once. Only ratios within one run compare.\n');
  if (options.profileFolder !== null) {
    process.stdout.write(`\n${hottestFunctions(report.figures)}\n${profileTables(report.figures)}`);
  }
  if (options.write) {
    // What a profiled run measures is slowed by the profiler.
    if (options.profileFolder === null) writeSection('figures', figuresSection(report));
    else writeSection('profile', profileSection(report));
    say(`Written to ${DOCUMENT}.`);
  }
}

/** For the person who waits; the report goes to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function endAfter(ms: number): void {
  const late = () => {
    say(`The benchmark took longer than ${Math.round(ms / 60_000)} minutes.`);
    void end(1);
  };
  setTimeout(late, ms).unref();
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
  // The terminal interrupts all processes of the benchmark at once; that they end is then no news.
  if (!closers.isClosing)
    say(`\nThe benchmark FAILED: ${error instanceof Error ? error.message : String(error)}`);
  await end(1);
}
