import { execFile } from 'node:child_process';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { waitFor } from './wait-for.js';

const ROOT = resolve(import.meta.dirname, '../..');
const DIST = join(ROOT, 'dist');
const MAIN = join(DIST, 'src/main.js');
/** Written after a whole build; its time is when that build began. */
const STAMP = join(DIST, '.complete');
const SOURCES = [
  'src',
  'migrations',
  'bench',
  'package.json',
  'nest-cli.json',
  'tsconfig.json',
  'tsconfig.build.json',
];
const LOCK = join(ROOT, 'node_modules/.cache/posthorn-build.lock');
const BUILD_TIMEOUT_MS = 180_000;

/**
 * The absolute path of dist/src/main.js, built by `npm run build`'s command unless it is newer than its sources.
 * Any number of test files may ask at once: one of them builds. Starting a file of dist without asking first may
 * find it half written.
 */
export async function builtMain(): Promise<string> {
  if (isFresh()) return MAIN;
  await mkdir(join(LOCK, '..'), { recursive: true });
  await waitFor(takeLock, { what: `whoever holds ${LOCK} to finish the build`, timeoutMs: BUILD_TIMEOUT_MS });
  try {
    if (!isFresh()) await build();
  } finally {
    rmSync(LOCK, { force: true });
  }
  return MAIN;
}

async function build(): Promise<void> {
  const startedAt = new Date();
  const nest = join(ROOT, 'node_modules/@nestjs/cli/bin/nest.js');
  await promisify(execFile)(process.execPath, [nest, 'build'], {
    cwd: ROOT,
    timeout: BUILD_TIMEOUT_MS,
  }).catch((error: unknown) => {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`The build failed:\n${stdout}${stderr}`, { cause: error });
  });
  await writeFile(STAMP, '');
  utimesSync(STAMP, startedAt, startedAt);
}

function isFresh(): boolean {
  const builtAt = modifiedAt(STAMP);
  return builtAt !== undefined && SOURCES.every((name) => newest(join(ROOT, name)) < builtAt);
}

/** Of a file, or of a folder with everything in it; a folder changes when something in it is removed. */
function newest(path: string): number {
  const own = modifiedAt(path) ?? 0;
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return own;
  const inside = readdirSync(path, { recursive: true, encoding: 'utf8' });
  return Math.max(own, ...inside.map((name) => modifiedAt(join(path, name)) ?? 0));
}

function modifiedAt(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

/** False while another living process has it. */
function takeLock(): boolean {
  try {
    const file = openSync(LOCK, 'wx');
    writeSync(file, String(process.pid));
    closeSync(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!isHeld()) rmSync(LOCK, { force: true });
    return false;
  }
}

function isHeld(): boolean {
  try {
    const pid = Number(readFileSync(LOCK, 'utf8'));
    // Just created, its holder has not written yet.
    if (pid === 0) return true;
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
