import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { parseArgs } from 'node:util';

const USAGE = `Runs the tests again and again, and tells which of them failed how often.

  npm run test:repeat -- [--times 5] [--load 0.5] [--one-core] [-- FILES AND OPTIONS OF VITEST]

  --times N    how many runs
  --load X     share of each core that something else takes meanwhile, 0 to 1
  --one-core   all of it on the first core (needs taskset)
`;

/** Milliseconds. Something else takes its share of each such period. */
const PERIOD_MS = 20;
/** Of the slowest files, whose durations are listed. */
const SLOWEST = 12;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    times: { type: 'string', default: '5' },
    load: { type: 'string', default: '0' },
    'one-core': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const times = Number(values.times);
const load = Number(values.load);
if (values.help || !(Number.isInteger(times) && times > 0) || !(load >= 0 && load <= 1)) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const onCores = values['one-core'] ? ['taskset', '-c', '0'] : [];
const cores = values['one-core'] ? 1 : availableParallelism();

/** Ends with this process, as the channel between the two does. */
const burner = `
  process.on('disconnect', () => process.exit());
  setInterval(() => {
    for (const from = performance.now(); performance.now() - from < ${load * PERIOD_MS}; );
  }, ${PERIOD_MS});`;

/**
 * @param {string[]} command
 * @param {import('node:child_process').StdioOptions} stdio
 */
function start([program = '', ...args], stdio) {
  return spawn(program, args, { stdio });
}

/**
 * @typedef {object} TestFile
 * @property {string} name
 * @property {string} status
 * @property {string} message
 * @property {number} startTime milliseconds
 * @property {number} endTime
 * @property {{ fullName: string, status: string, failureMessages: string[] }[]} assertionResults
 */

/**
 * @param {string} folder for its report
 * @param {number} number
 * @returns {Promise<{ report?: { success: boolean, testResults: TestFile[] }, code: number | null }>}
 */
async function runOnce(folder, number) {
  const file = join(folder, `${number}.json`);
  const reporters = ['--reporter=json', `--outputFile=${file}`];
  const vitest = [
    process.execPath,
    'node_modules/vitest/vitest.mjs',
    'run',
    '--project=!clients',
    ...reporters,
    ...positionals,
  ];
  const child = start([...onCores, ...vitest], ['ignore', 'ignore', 'inherit']);
  /** @type {number | null} */
  const code = await new Promise((resolve) => child.once('close', resolve));
  try {
    /** @type {{ success: boolean, testResults: TestFile[] }} */
    // eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- vitest says what it is
    const report = JSON.parse(readFileSync(file, 'utf8'));
    return { report, code };
  } catch {
    return { code };
  }
}

/**
 * By the name of each test, or of a file that could not be loaded: how often it failed, and why at last.
 * @type {Map<string, { count: number, why: string }>}
 */
const failures = new Map();
/**
 * By file: seconds of each run.
 * @type {Map<string, number[]>}
 */
const durations = new Map();

/** @param {string} name @param {string} why */
function note(name, why) {
  const known = failures.get(name);
  failures.set(name, { count: (known?.count ?? 0) + 1, why: why.split('\n')[0] ?? '' });
}

const failed = () => [...failures.values()].reduce((sum, { count }) => sum + count, 0);

/** @param {Awaited<ReturnType<typeof runOnce>>} run */
function read({ report, code }) {
  if (report === undefined) {
    note('(the run itself)', `vitest ended with ${code} and said nothing`);
    return;
  }
  for (const { name, status, message, startTime, endTime, assertionResults } of report.testResults) {
    const file = relative('.', name);
    durations.set(file, [...(durations.get(file) ?? []), (endTime - startTime) / 1_000]);
    const red = assertionResults.filter((one) => one.status === 'failed');
    for (const one of red) note(`${file} > ${one.fullName}`, one.failureMessages[0] ?? '');
    if (status === 'failed' && red.length === 0) note(file, message);
  }
  if (code !== 0 && report.success) note('(the run itself)', `vitest ended with ${code}`);
}

const folder = mkdtempSync(join(tmpdir(), 'posthorn-repeat-'));
const burners =
  load > 0 ? Array.from({ length: cores }, () => [...onCores, process.execPath, '-e', burner]) : [];
const burning = burners.map((command) => start(command, ['ignore', 'ignore', 'inherit', 'ipc']));
let green = 0;
try {
  for (let number = 1; number <= times; number++) {
    const from = performance.now();
    const before = failed();
    read(await runOnce(folder, number));
    if (failed() === before) green++;
    const seconds = Math.round((performance.now() - from) / 1_000);
    process.stdout.write(`run ${number} of ${times}: ${failed() - before} failed, ${seconds} s\n`);
  }
} finally {
  for (const child of burning) child.kill();
  rmSync(folder, { recursive: true });
}

const slowest = [...durations].map(([file, all]) => ({
  file,
  mean: all.reduce((a, b) => a + b) / all.length,
}));
slowest.sort((one, other) => other.mean - one.mean);
process.stdout.write('\nslowest files, seconds on average\n');
for (const { file, mean } of slowest.slice(0, SLOWEST)) {
  process.stdout.write(`  ${mean.toFixed(1).padStart(6)}  ${file}\n`);
}
if (failures.size > 0) process.stdout.write('\nfailed\n');
for (const [name, { count, why }] of [...failures].sort(([, one], [, other]) => other.count - one.count)) {
  process.stdout.write(`  ${count} of ${times}  ${name}\n          ${why}\n`);
}
process.stdout.write(`\n${times} runs, ${green} green\n`);
process.exitCode = green === times ? 0 : 1;
