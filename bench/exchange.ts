import { mkdirSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeSection } from './document.js';
import type { ExchangeSender, PostFigures } from './exchange-sender.js';
import { percentiles } from './latencies.js';
import { wholeNumber, wholeNumbers } from './options.js';
import { Program } from './program.js';
import { aligned, whole } from './report.js';
import type { Sink } from './sink.js';
import { Closers } from './stand.js';

const USAGE = `Usage: npm run bench:exchange -- [options]

  Signed POSTs to a sink, over undici and over the service's own HTTP client in turns.

  --origins LIST      1,500 by default: subscribers, each with a tenant and an address of its own
  --in-flight NUMBER  POSTs under way at the same time, 50 by default
  --rounds NUMBER     of each client, 7 by default; medians are printed
  --seconds NUMBER    a round, 2 by default
  --profile FOLDER    leave CPU profiles (.cpuprofile) of the two senders there
  --write             write the table to docs/benchmarks.md
  --help
`;

const PAYLOAD_BYTES = 1_024;
/** Until V8 has compiled what is hot: a service runs for days. */
const WARM_UP_SECONDS = 3;
const CLIENTS = ['undici', 'own'] as const;
type Client = (typeof CLIENTS)[number];

interface Result {
  origins: number;
  warmUp: Record<Client, PostFigures>;
  rounds: Record<Client, PostFigures>[];
}

const closers = new Closers();
const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      origins: { type: 'string', default: '1,500' },
      'in-flight': { type: 'string', default: '50' },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '2' },
      profile: { type: 'string' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const origins = wholeNumbers('origins', values.origins, 10_000);
  const inFlight = wholeNumber('in-flight', values['in-flight'], 1_000);
  const rounds = wholeNumber('rounds', values.rounds, 100);
  const seconds = wholeNumber('seconds', values.seconds, 60);

  const start = starter(values.profile);
  const sink = start<Sink>('sink', { SINK_HOST: '0.0.0.0' });
  const senders = {
    undici: start<ExchangeSender>('exchange-sender', { SENDER: 'undici' }),
    own: start<ExchangeSender>('exchange-sender', { SENDER: 'own' }),
  };
  const { port } = new URL(await sink.call('url'));

  const results: Result[] = [];
  for (const count of origins) {
    const urls = Array.from({ length: count }, (_, number) => `http://${loopback(number)}:${port}/ok`);
    const post = async (of: number) => {
      const figures: Partial<Record<Client, PostFigures>> = {};
      for (const client of CLIENTS) {
        const load = { urls, inFlight, seconds: of, payloadBytes: PAYLOAD_BYTES };
        figures[client] = await senders[client].call('post', load);
      }
      return figures as Record<Client, PostFigures>;
    };
    const result: Result = { origins: count, warmUp: await post(WARM_UP_SECONDS), rounds: [] };
    say(`${count} origins, warm-up: ${line(result.warmUp)}`);
    for (let round = 0; round < rounds; round++) {
      result.rounds.push(await post(seconds));
      say(`${count} origins, round ${round + 1}: ${line(result.rounds.at(-1)!)}`);
    }
    results.push(result);
  }

  const command = ['npm run bench:exchange', values.origins === '1,500' ? '' : `--origins ${values.origins}`];
  const section = `\`${command.filter(Boolean).join(' -- ')}\` on ${machine()}; ${inFlight} POSTs in flight, medians of ${rounds} rounds of ${seconds} s:\n\n${table(results)}`;
  process.stdout.write(`${section}\n`);
  if (values.write) writeSection('exchange', section);
}

function starter(profileFolder: string | undefined) {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-exchange-'));
  closers.add(() => rm(folder, { recursive: true, force: true }));
  if (profileFolder !== undefined) mkdirSync(profileFolder, { recursive: true });
  return <M extends Record<string, (...args: never[]) => unknown>>(
    name: string,
    env: Record<string, string>,
  ): Program<M> => {
    const client = env['SENDER'];
    const isProfiled = profileFolder !== undefined && client !== undefined;
    const program = Program.start<M>({
      name: client ?? name,
      module: join(import.meta.dirname, `${name}.js`),
      logFile: join(folder, `${client ?? name}.log`),
      execArgv: isProfiled
        ? ['--cpu-prof', `--cpu-prof-name=${client}.cpuprofile`, `--cpu-prof-dir=${resolve(profileFolder)}`]
        : [],
      env,
    });
    closers.add(() => program.stop());
    return program;
  };
}

/** All of 127.0.0.0/8 leads to this machine, so every subscriber can have an address of its own. */
const loopback = (number: number): string => `127.1.${number >> 8}.${number & 255}`;

const medianOf = ({ rounds }: Result, client: Client, figure: keyof PostFigures): number =>
  percentiles(rounds.map((round) => round[client][figure])).p50;

function table(results: Result[]): string {
  return aligned([
    [
      'subscribers',
      'undici: POSTs/s',
      'own: POSTs/s',
      'ratio',
      'undici: CPU µs a POST',
      'own: CPU µs a POST',
      'undici: connections opened',
      'own: connections opened',
    ],
    ...results.map((result) => {
      const [theirs, ours] = CLIENTS.map((client) => medianOf(result, client, 'perSecond')) as [
        number,
        number,
      ];
      const opened = CLIENTS.map((client) =>
        whole(
          [result.warmUp, ...result.rounds].reduce((sum, round) => sum + round[client].connectionsOpened, 0),
        ),
      );
      const cpu = CLIENTS.map((client) => medianOf(result, client, 'cpuMicros').toFixed(1));
      return [
        whole(result.origins),
        whole(theirs),
        whole(ours),
        (ours / theirs).toFixed(2),
        ...cpu,
        ...opened,
      ];
    }),
  ]);
}

const line = (round: Record<Client, PostFigures>): string =>
  CLIENTS.map((client) => {
    const { perSecond, cpuMicros, connectionsOpened } = round[client];
    return `${client} ${whole(perSecond)}/s, ${cpuMicros.toFixed(1)} µs, ${connectionsOpened} opened`;
  }).join('; ');

function machine(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown CPU'}), Node ${process.versions.node}`;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closers.close().then(() => process.exit(1)));
}
try {
  await main();
  await closers.close();
} catch (error) {
  say(`The benchmark FAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  await closers.close();
  process.exit(1);
}
