import { parseArgs } from 'node:util';

const USAGE = `Usage: npm run bench -- [options]

  --quick                 a rough answer in less than 40 s
  --subscriptions LIST    1,500 by default: a scenario for each; every event goes to one of them
  --batch LIST            1,100 by default: events a request, a scenario for each
  --connections NUMBER    of the load generator, 128 by default (8 where a request carries a batch)
  --events NUMBER         handed in a scenario, 60,000 by default
  --seconds NUMBER        handing in ends after this time at the latest, 15 by default
  --profile FOLDER        tell where a delivery's time goes; CPU profiles (.cpuprofile) of api and worker go there.
                          Batches of 1 alone unless --batch is given; --write then writes this part alone
  --seed-rows NUMBER      fill the tables with so many events, deliveries and attempts first
  --write                 write the report to docs/benchmarks.md
  --help

  BENCH_DATABASE_URL      a PostgreSQL in which a database can be made; an embedded one without it
  BENCH_REDIS_URL         a Redis that may be flushed; redis-server or valkey-server of the PATH without it
`;

export interface BenchOptions {
  subscriptions: number[];
  batches: number[];
  connections: number;
  /** Events a scenario, and seconds in which to hand them in, whichever ends first. */
  events: number;
  seconds: number;
  /** Of each reference measurement, and of handing in events at a moderate rate. */
  referenceSeconds: number;
  latencySeconds: number;
  profileFolder: string | null;
  /** Deliveries that are in the tables beforehand, and as many attempts. */
  seedRows: number;
  write: boolean;
  databaseUrl: string | null;
  redisUrl: string | null;
  /** As it was called, for the report. */
  command: string;
}

/**
 * Reads the command line and the environment; null when only help was wanted.
 * @throws Error naming the option that is wrong
 */
export function readOptions(argv: string[]): BenchOptions | null {
  const { values } = parseArgs({
    args: argv,
    options: {
      quick: { type: 'boolean', default: false },
      subscriptions: { type: 'string', default: '1,500' },
      batch: { type: 'string' },
      connections: { type: 'string', default: '128' },
      events: { type: 'string' },
      seconds: { type: 'string' },
      profile: { type: 'string' },
      'seed-rows': { type: 'string' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return null;
  }
  const { quick } = values;
  return {
    subscriptions: wholeNumbers('subscriptions', values.subscriptions, 10_000),
    batches: wholeNumbers(
      'batch',
      values.batch ?? (quick || values.profile !== undefined ? '1' : '1,100'),
      1_000,
    ),
    connections: wholeNumber('connections', values.connections, 1_000),
    events: wholeNumber('events', values.events ?? (quick ? '8000' : '60000'), 1_000_000),
    seconds: wholeNumber('seconds', values.seconds ?? (quick ? '4' : '15'), 60),
    referenceSeconds: quick ? 1 : 2,
    latencySeconds: quick ? 2 : 10,
    profileFolder: values.profile ?? null,
    seedRows: values['seed-rows'] === undefined ? 0 : wholeNumber('seed-rows', values['seed-rows'], 1e9),
    write: values.write,
    databaseUrl: process.env['BENCH_DATABASE_URL'] ?? null,
    redisUrl: process.env['BENCH_REDIS_URL'] ?? null,
    command: commandOf(argv),
  };
}

/** Without `--write`, which is said elsewhere, and the name of a folder of this machine. */
function commandOf(argv: string[]): string {
  const told = argv
    .filter((word) => word !== '--write')
    .join(' ')
    .replace(/(?<=--profile[ =])\S+/, 'FOLDER');
  return told === '' ? 'npm run bench' : `npm run bench -- ${told}`;
}

export function wholeNumbers(name: string, list: string, most: number): number[] {
  return list.split(',').map((text) => wholeNumber(name, text, most));
}

export function wholeNumber(name: string, text: string, most: number): number {
  const value = Number(text.replaceAll('_', ''));
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new Error(
    `--${name} takes whole numbers from 1 to ${most}, not "${text}" (--help shows the options)`,
  );
}
