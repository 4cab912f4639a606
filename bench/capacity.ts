import { parseArgs } from 'node:util';
import { allArrive, allRecorded, checkDatabase } from './arrivals.js';
import { capacitySection, DOCUMENT_OF_CAPACITY, type Costs } from './capacity-report.js';
import { writeSection } from './document.js';
import { readOptions, wholeNumber, type BenchOptions } from './options.js';
import { machine } from './report.js';
import { costs, createTenant, PAYLOAD_BYTES, readMeters } from './scenario.js';
import { Closers, startStand, type Stand } from './stand.js';

const USAGE = `Usage: npm run bench:capacity -- [options]

  --events NUMBER         60,000 by default: handed in one a request, each for one of 500 subscriptions
  --seconds NUMBER        handing in ends after this time at the latest, 30 by default
  --write                 write the tables to ${DOCUMENT_OF_CAPACITY}
`;

const SUBSCRIPTIONS = 500;
const CONNECTIONS = 128;
const WARM_UP_EVENTS = 5_000;
const MAX_MS = 5 * 60_000;

/** Tables that grow with every delivery, by the name of what one row is. */
const TABLES = {
  event: 'event',
  delivery: 'delivery',
  attempt: 'delivery_attempt',
  key: 'idempotency_key',
} as const;

const closers = new Closers();

async function measure(options: BenchOptions, command: string): Promise<Costs> {
  const stand = await startStand(options, closers);
  const tenant = await createTenant(stand, SUBSCRIPTIONS);
  const handIn = async (keyPrefix: string, events: number): Promise<number> => {
    await stand.sink.call('reset', 0);
    const { accepted } = await stand.load.call('closedLoop', {
      url: stand.apiUrl,
      apiKey: tenant.apiKey,
      keyPrefix,
      types: SUBSCRIPTIONS,
      payloadBytes: PAYLOAD_BYTES,
      batch: 1,
      connections: CONNECTIONS,
      events,
      seconds: options.seconds,
    });
    await allArrive(stand, accepted);
    await allRecorded(stand, tenant.id);
    return accepted;
  };
  const warmUp = await handIn('warm-up', WARM_UP_EVENTS);
  // The first change of a page after a checkpoint writes it whole; what the run costs includes its share of that.
  await stand.database.query('checkpoint');

  const [metersBefore, postgresBefore] = [await readMeters(stand), await readPostgres(stand)];
  const deliveries = await handIn('run', options.events);
  const [metersAfter, postgresAfter] = [await readMeters(stand), await readPostgres(stand)];
  await checkDatabase(stand, tenant.id, warmUp + deliveries);

  const { cpu, redisTrips } = costs(metersBefore, metersAfter, deliveries);
  const each = (name: keyof typeof postgresAfter) =>
    (postgresAfter[name] - postgresBefore[name]) / deliveries;
  return {
    command,
    machine: machine({ versions: stand.versions }),
    payloadBytes: PAYLOAD_BYTES,
    deliveries,
    cpu: {
      api: cpu['api'] ?? NaN,
      worker: cpu['worker'] ?? NaN,
      postgres: cpu['postgres'] ?? NaN,
      redis: cpu['redis'] ?? NaN,
    },
    walBytes: each('wal'),
    storedBytes: {
      event: each('event'),
      delivery: each('delivery'),
      attempt: each('attempt'),
      key: each('key'),
    },
    transactions: each('transactions'),
    redisCommands: redisTrips / 1_000,
  };
}

/** Counters in bytes and transactions. Backends tell of their transactions once a second at the latest. */
async function readPostgres({ database }: Stand) {
  const sizes = Object.entries(TABLES).map(
    ([name, table]) =>
      // A table without partitions is its own.
      `(select coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size('${table}'))
        from pg_partition_tree('${table}'))::float8 as ${name}`,
  );
  await database.query('select pg_sleep(1.5)');
  const { rows } = await database.query<Record<keyof typeof TABLES | 'wal' | 'transactions', number>>(
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as wal, ${sizes.join(', ')},
            (select xact_commit from pg_stat_database where datname = current_database())::float8 as transactions`,
  );
  return rows[0]!;
}

async function main(argv: string[]): Promise<void> {
  const { values } = parseArgs({
    args: argv,
    options: {
      events: { type: 'string', default: '60000' },
      seconds: { type: 'string', default: '30' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const events = wholeNumber('events', values.events, 1_000_000);
  const options = readOptions(['--events', String(events), '--seconds', values.seconds])!;
  const told = argv.filter((word) => word !== '--write').join(' ');
  const command = told === '' ? 'npm run bench:capacity' : `npm run bench:capacity -- ${told}`;
  const section = capacitySection(await measure(options, command));
  process.stdout.write(`\n${section}\n`);
  if (values.write) writeSection('machines', section, DOCUMENT_OF_CAPACITY);
}

async function end(code: number): Promise<void> {
  await closers.close();
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(130));
setTimeout(() => {
  process.stderr.write('The benchmark took too long.\n');
  void end(1);
}, MAX_MS).unref();

try {
  await main(process.argv.slice(2));
  await end(0);
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  if (!closers.isClosing) process.stderr.write(`\nThe benchmark FAILED: ${reason}\n`);
  await end(1);
}
