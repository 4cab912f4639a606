import { parseArgs } from 'node:util';
import { allArrive, allRecorded, checkDatabase } from './arrivals.js';
import { cpuMicros } from './cpu-clock.js';
import { DOCUMENT_OF_CAPACITY } from './capacity-report.js';
import { writeSection } from './document.js';
import { type BenchOptions, readOptions, wholeNumber, wholeNumbers } from './options.js';
import { aligned, whole } from './report.js';
import { createTenant, measureRawPosts, PAYLOAD_BYTES } from './scenario.js';
import { Closers, type Crowd, startStand, type Stand } from './stand.js';

const USAGE = `Usage: npm run bench:processes -- [options]

  --workers LIST          1,2,4 by default: worker processes, each number with each of --apis
  --apis LIST             1,2 by default: api processes
  --queues LIST           1,2,4 by default: Bull queues (QUEUE_SHARDS); numbers beyond the first with two workers
  --subscriptions NUMBER  500 by default
  --events NUMBER         handed in a run, 30,000 by default
  --seconds NUMBER        handing in ends after this time at the latest, 10 by default
  --write                 write the table to ${DOCUMENT_OF_CAPACITY}
`;

const MAX_MS = 20 * 60_000;
const CONNECTIONS = 128;
/** For each process of the role that has more of them: each compiles its code for itself. */
const WARM_UP_EVENTS = 5_000;
const ROLES = ['api', 'worker', 'postgres', 'redis'] as const;
type Cpu = Record<(typeof ROLES)[number], number | null>;

interface Run extends Crowd {
  queues: number;
}

interface Result {
  run: Run;
  deliveredPerSecond: number;
  rawPerSecond: number;
  /** Microseconds a delivery, over all processes of a role. */
  cpu: Cpu;
}

const closers = new Closers();

async function measure(run: Run, options: BenchOptions, subscriptions: number): Promise<Result> {
  const own = new Closers();
  closers.add(() => own.close());
  const crowd = { ...run, env: { QUEUE_SHARDS: String(run.queues) } };
  try {
    const stand = await startStand(options, own, crowd);
    const tenant = await createTenant(stand, subscriptions);
    const handIn = (keyPrefix: string, events: number) =>
      Promise.all(
        stand.apiUrls.map((url) =>
          stand.load.call('closedLoop', {
            url,
            apiKey: tenant.apiKey,
            keyPrefix: `${keyPrefix}-${url}`,
            types: subscriptions,
            payloadBytes: PAYLOAD_BYTES,
            batch: 1,
            connections: Math.ceil(CONNECTIONS / stand.apiUrls.length),
            events: Math.ceil(events / stand.apiUrls.length),
            seconds: options.seconds,
          }),
        ),
      );
    await stand.sink.call('reset', 0);
    const warmUp = sum(
      (await handIn('warm-up', WARM_UP_EVENTS * Math.max(run.apis, run.workers))).map(
        ({ accepted }) => accepted,
      ),
    );
    await allArrive(stand, warmUp);
    await allRecorded(stand, tenant.id);

    await stand.sink.call('reset', 0);
    const before = readCpu(stand);
    const parts = await handIn('run', options.events);
    const accepted = sum(parts.map((part) => part.accepted));
    const { lastArrivedAt } = await allArrive(stand, accepted);
    await allRecorded(stand, tenant.id);
    const after = readCpu(stand);
    const startedAt = Math.min(...parts.map((part) => part.startedAt));
    await checkDatabase(stand, tenant.id, warmUp + accepted);
    const raw = await measureRawPosts(stand, options, true);
    const micros = ROLES.map((role) => {
      const [from, to] = [before[role], after[role]];
      return [role, from === null || to === null ? null : (to - from) / accepted] as const;
    });
    return {
      run,
      deliveredPerSecond: (accepted / (lastArrivedAt - startedAt)) * 1000,
      rawPerSecond: raw.perSecond,
      cpu: Object.fromEntries(micros) as Cpu,
    };
  } finally {
    await own.close();
  }
}

function readCpu({ processes, postgresPid, redisPid }: Stand): Cpu {
  const of = (pids: (number | null)[]): number | null => {
    const micros = pids.map((pid) => (pid === null ? null : cpuMicros(pid)));
    return micros.includes(null) ? null : sum(micros.map((value) => value ?? 0));
  };
  return {
    api: of(processes.api.map(({ pid }) => pid)),
    worker: of(processes.worker.map(({ pid }) => pid)),
    postgres: of([postgresPid]),
    redis: of([redisPid]),
  };
}

function table(results: Result[]): string {
  return aligned([
    [
      'apis',
      'workers',
      'queues',
      'delivered/s',
      '÷ raw POSTs/s',
      ...ROLES.map((role) => `${role}, CPU µs a delivery`),
    ],
    ...results.map(({ run, deliveredPerSecond, rawPerSecond, cpu }) => [
      String(run.apis),
      String(run.workers),
      String(run.queues),
      whole(deliveredPerSecond),
      (deliveredPerSecond / rawPerSecond).toFixed(3),
      ...ROLES.map((role) => whole(cpu[role] ?? NaN)),
    ]),
  ]);
}

async function main(argv: string[]): Promise<void> {
  const { values } = parseArgs({
    args: argv,
    options: {
      workers: { type: 'string', default: '1,2,4' },
      apis: { type: 'string', default: '1,2' },
      queues: { type: 'string', default: '1,2,4' },
      subscriptions: { type: 'string', default: '500' },
      events: { type: 'string', default: '30000' },
      seconds: { type: 'string', default: '10' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const options = readOptions(['--events', values.events, '--seconds', values.seconds])!;
  const [queues = 1, ...moreQueues] = wholeNumbers('queues', values.queues, 64);
  const runs: Run[] = wholeNumbers('apis', values.apis, 16).flatMap((apis) =>
    wholeNumbers('workers', values.workers, 16).map((workers) => ({ apis, workers, queues })),
  );
  runs.push(...moreQueues.map((more) => ({ apis: 1, workers: 2, queues: more })));
  const subscriptions = wholeNumber('subscriptions', values.subscriptions, 10_000);

  const results: Result[] = [];
  for (const run of runs) {
    say(`Measuring ${run.apis} api(s), ${run.workers} worker(s), ${run.queues} queue(s) …`);
    results.push(await measure(run, options, subscriptions));
    say(`  ${whole(results.at(-1)!.deliveredPerSecond)} delivered/s`);
  }
  const told = argv.filter((word) => word !== '--write').join(' ');
  const command = told === '' ? 'npm run bench:processes' : `npm run bench:processes -- ${told}`;
  process.stdout.write(`\n${table(results)}`);
  if (values.write) writeSection('processes', `\`${command}\`:\n\n${table(results)}`, DOCUMENT_OF_CAPACITY);
}

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);

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
  say('The benchmark took too long.');
  void end(1);
}, MAX_MS).unref();

try {
  await main(process.argv.slice(2));
  await end(0);
} catch (error) {
  if (!closers.isClosing)
    say(`\nThe benchmark FAILED: ${error instanceof Error ? error.message : String(error)}`);
  await end(1);
}
