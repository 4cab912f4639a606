import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { MemoryCallers } from './memory-callers.js';
import { Pulse } from './memory-pulse.js';
import {
  isWithin,
  memorySection,
  memoryTable,
  pulseTable,
  whatHappened,
  type Outcome,
} from './memory-report.js';
import { SCENARIOS, type MemoryScenario } from './memory-scenarios.js';
import { createLanes, createTenant } from './memory-seed.js';
import type { MemorySink } from './memory-sink.js';
import { MemoryWatch } from './memory-watch.js';
import { writeSection } from './document.js';
import { readOptions } from './options.js';
import { Program } from './program.js';
import { Closers, startStand } from './stand.js';

const USAGE = `Usage: npm run bench:memory -- [options]

  --only LIST    some scenarios alone: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --seconds N    how long the harm of each goes on, 60 by default
  --size SHARE   of the numbers of each scenario, 1 by default
  --write        write docs/memory.md
  --help
`;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    size: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const PAGE = join('docs', 'memory.md');

let closers = new Closers();

/** Every process is new, so that a peak belongs to one scenario alone. */
async function play(scenario: MemoryScenario): Promise<Outcome> {
  closers = new Closers();
  try {
    const stand = await startStand(readOptions([])!, closers);
    const sink = start<MemorySink>('memory-sink', stand.folder);
    const callers = start<MemoryCallers>('memory-callers', stand.folder);
    const pulse = await Pulse.start(stand.apiUrl);
    const tenant = await createTenant(stand, 'well-behaved');
    await createLanes(stand, tenant, [pulse.targetUrl], { eventTypes: [] });
    const watch = new MemoryWatch(stand);
    pulse.begin(tenant.apiKey);
    const size = Number(options.size);
    const seen = await scenario.run({ stand, sink, callers, seconds: Number(options.seconds), size, say });
    const pulseReport = await pulse.stop();
    const peaks = await watch.stop();
    const died = (['api', 'worker', 'scheduler'] as const).filter((role) => !stand.roles[role].isRunning);
    return { scenario, seen, pulse: pulseReport, peaks, died, versions: stand.versions };
  } finally {
    await closers.close();
  }
}

function start<M extends Record<string, (...args: never[]) => unknown>>(name: string, folder: string) {
  const module = join(import.meta.dirname, `${name}.js`);
  const program = Program.start<M>({ name, module, logFile: join(folder, `${name}.log`) });
  closers.add(() => program.stop());
  return program;
}

async function main(): Promise<number> {
  const names = options.only?.split(',') ?? SCENARIOS.map(({ name }) => name);
  const unknown = names.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown.length > 0) throw new Error(`There is no scenario ${unknown.join(', ')} (--help lists them).`);
  const outcomes: Outcome[] = [];
  for (const scenario of SCENARIOS.filter(({ name }) => names.includes(name))) {
    say(`${scenario.name}: ${scenario.title}`);
    const outcome = await play(scenario);
    outcomes.push(outcome);
    process.stdout.write(
      `\n${memoryTable([outcome])}\n${pulseTable([outcome])}\n${whatHappened([outcome])}\n`,
    );
  }
  if (options.write) {
    writeSection('memory', memorySection(command(), Number(options.size), outcomes), PAGE);
    say(`Written to ${PAGE}.`);
  }
  return outcomes.every(isWithin) ? 0 : 1;
}

/** As it was called, without what only says where to write. */
function command(): string {
  const given = process.argv.slice(2).filter((argument) => argument !== '--write');
  return ['npm run bench:memory', ...(given.length > 0 ? ['--', ...given] : [])].join(' ');
}

/** For the person who waits; figures go to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function end(code: number): Promise<void> {
  await closers.close();
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(130));

if (options.help) process.stdout.write(USAGE);
else {
  try {
    await end(await main());
  } catch (error) {
    if (!closers.isClosing)
      say(`FAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    await end(1);
  }
}
