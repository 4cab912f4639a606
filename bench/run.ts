import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readOptions, type BenchOptions } from './options.js';
import { measureDiskSync, measureInserts } from './references.js';
import { document, machine, references, shareOf, table, type Report } from './report.js';
import { measure, measureRawPosts, PAYLOAD_BYTES, type Figures } from './scenario.js';
import { Closers, startStand } from './stand.js';

/** The benchmark ends after this time, whatever hangs. */
const MAX_MS = 5 * 60_000;

/** Where the repository's documents lie when this is dist/bench/run.js and was started by npm. */
const DOCUMENT = join('docs', 'benchmarks.md');

const closers = new Closers();

async function bench(options: BenchOptions): Promise<Report> {
  say('Starting PostgreSQL, Redis, api, worker, scheduler, sink and load generator …');
  const stand = await startStand(options, closers);
  const diskSyncMicros = measureDiskSync(stand.folder);
  say('Measuring inserts …');
  const inserts = await measureInserts(stand, PAYLOAD_BYTES, options.referenceSeconds);
  const plainPosts = (await measureRawPosts(stand, options, false)).perSecond;
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
  const report = await bench(options);
  process.stdout.write(`\n${machine(report)}\n\n${table(report)}\n${references(report)}\n`);
  process.stdout.write('Every accepted event arrived exactly once. Only ratios within one run compare.\n');
  if (options.write) {
    writeFileSync(resolve(DOCUMENT), document(report));
    say(`Written to ${DOCUMENT}.`);
  }
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
setTimeout(() => {
  say(`The benchmark took longer than ${MAX_MS / 60_000} minutes.`);
  void end(1);
}, MAX_MS).unref();

try {
  await main();
  await end(0);
} catch (error) {
  // The terminal interrupts all processes of the benchmark at once; that they end is then no news.
  if (!closers.isClosing)
    say(`\nThe benchmark FAILED: ${error instanceof Error ? error.message : String(error)}`);
  await end(1);
}
