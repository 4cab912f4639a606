import { parseArgs } from 'node:util';
import type { Arrival } from './arrival-log.js';
import { guide } from './inspection.js';
import { startSimulator, type Simulator } from './simulator.js';

const USAGE = `Usage: npm run simulator -- [options]

  --port PORT      9000 by default; 0 takes any free one
  --host HOST      127.0.0.1 by default
  --secret SECRET  whsec_…: verify every signature with it and answer 401 to bad ones
  --seed NUMBER    make random failures the same in every run
  --quiet          do not print a line for every arrival
  --help

`;

const print = (text: string) => process.stdout.write(text);

/** `12:03:04.123  POST /fail/15/orders  user.created  …1f3c9a2e  #1  532 B  signature ok  -> 200` */
function line(arrival: Arrival): string {
  const header = (name: string) => String(arrival.headers[name] ?? '-');
  const verdict = { null: 'unknown', true: 'ok', false: `bad (${arrival.signatureProblem ?? ''})` };
  const time = new Date(arrival.arrivedAt);
  return [
    `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, '0')}`,
    `${arrival.method} ${arrival.path}`,
    header('x-webhook-event'),
    // The end of a UUIDv7: its beginning is the time, alike in neighbours.
    header('x-webhook-delivery').replace(/^.+(?=.{8}$)/, '…'),
    `#${header('x-webhook-attempt')}`,
    `${arrival.bytes} B`,
    `signature ${verdict[`${arrival.signatureValid}`]}`,
    `-> ${arrival.status ?? 'no answer'}${arrival.duplicate ? ' (duplicate)' : ''}`,
  ].join('  ');
}

function options() {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '9000' },
      host: { type: 'string', default: '127.0.0.1' },
      secret: { type: 'string' },
      seed: { type: 'string' },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const whole = (name: 'port' | 'seed', most: number): number => {
    const value = Number(values[name]);
    if (Number.isInteger(value) && value >= 0 && value <= most) return value;
    throw new Error(`--${name} is a whole number from 0 to ${most}`);
  };
  return {
    ...values,
    port: whole('port', 65_535),
    seed: values.seed === undefined ? undefined : whole('seed', 2 ** 32 - 1),
  };
}

async function start(): Promise<Simulator | undefined> {
  const { help, quiet, ...chosen } = options();
  if (help) {
    print(USAGE + guide());
    return undefined;
  }
  const onHandled = quiet ? undefined : (arrival: Arrival) => void print(`${line(arrival)}\n`);
  const simulator = await startSimulator({ ...chosen, onHandled });
  print(
    `${guide()}\nListening on ${simulator.url}; for example, subscribe ${simulator.url}/fail/15/orders\n\n`,
  );
  return simulator;
}

try {
  const simulator = await start();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void simulator?.close().then(() => process.exit(0));
    });
  }
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException;
  const advice =
    code === 'EADDRINUSE'
      ? 'Another program uses this port, perhaps a simulator that runs already. Choose another one: npm run simulator -- --port 9001'
      : '(--help shows the options)';
  process.stderr.write(`${message}\n${advice}\n`);
  process.exitCode = 1;
}
