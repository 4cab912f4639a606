import { spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const PACKAGE = resolve(import.meta.dirname, '..');
/** What the compiler reads. */
const SOURCES = [
  'src',
  'migrations',
  'bench',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
];
/** In `dist`; its time is when the build began, so that a file changed during the build makes it stale. */
const STAMP = '.complete';
const POLL_MS = 100;
const BUILD_TIMEOUT_MS = 180_000;

/**
 * Compiles the sources to `dist`, unless `dist` is newer than all of them.
 *
 * Any number of processes may call it at once: one builds, and the others wait for it. A build is compiled into a
 * folder of its own, which takes the place of `dist` when it is complete. So no process finds half of one, and a build
 * that fails leaves the last good one in place.
 *
 * @param {{ root?: string, say?: (text: string) => void }} [options] root: the folder of package.json; say: told what
 *   goes on, in lines for people
 * @throws {Error} with the compiler's messages, or if another process holds the lock for more than three minutes
 */
export async function buildIfStale({ root = PACKAGE, say = () => undefined } = {}) {
  if (isFresh(root)) return;
  const lock = join(root, 'node_modules/.cache/posthorn-build.lock');
  await takeLock(lock, say);
  try {
    if (!isFresh(root)) await build(root, say);
  } finally {
    rmSync(lock, { force: true });
  }
}

/** @type {(root: string, say: (text: string) => void) => Promise<void>} */
async function build(root, say) {
  say('Building Posthorn …');
  const startedAt = new Date();
  // Beside dist, for a rename must not leave the file system.
  const made = join(root, `dist.${process.pid}`);
  removeLeftovers(root);
  try {
    await compile(root, made);
    writeFileSync(join(made, STAMP), '');
    utimesSync(join(made, STAMP), startedAt, startedAt);
    const dist = join(root, 'dist');
    const old = `${made}.old`;
    renameIfThere(dist, old);
    renameSync(made, dist);
    rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  say(`Built in ${Math.ceil((Date.now() - startedAt.getTime()) / 1000)} s.`);
}

/** @type {(root: string, outDir: string) => Promise<void>} */
function compile(root, outDir) {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const child = spawn(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', outDir], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: BUILD_TIMEOUT_MS,
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code, signal) => {
      if (code === 0) done();
      else
        fail(new Error(`The build failed (${signal ?? `exit code ${String(code)}`}):\n${output.trimEnd()}`));
    });
  });
}

/** @type {(root: string) => boolean} */
function isFresh(root) {
  const builtAt = modifiedAt(join(root, 'dist', STAMP));
  return builtAt !== undefined && SOURCES.every((name) => newest(join(root, name)) < builtAt);
}

/**
 * Of a file, or of a folder with everything in it; a folder changes when something in it is removed.
 * @type {(path: string) => number}
 */
function newest(path) {
  const own = modifiedAt(path) ?? 0;
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return own;
  const inside = readdirSync(path, { recursive: true, encoding: 'utf8' });
  return Math.max(own, ...inside.map((name) => modifiedAt(join(path, name)) ?? 0));
}

/** @type {(path: string) => number | undefined} */
function modifiedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

/** @type {(from: string, to: string) => void} */
function renameIfThere(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/**
 * What a build left behind that was killed.
 * @type {(root: string) => void}
 */
function removeLeftovers(root) {
  for (const name of readdirSync(root)) {
    const pid = /^dist\.(\d+)(\.old)?$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(join(root, name), { recursive: true, force: true });
  }
}

/** @type {(lock: string, say: (text: string) => void) => Promise<void>} */
async function takeLock(lock, say) {
  mkdirSync(resolve(lock, '..'), { recursive: true });
  const deadline = Date.now() + BUILD_TIMEOUT_MS;
  for (let tries = 0; ; tries++) {
    const holder = tryLock(lock);
    if (holder === null) return;
    if (Date.now() > deadline) {
      throw new Error(`Process ${holder} has been building for three minutes. If it is not, remove ${lock}.`);
    }
    if (tries === 0 && isAlive(holder)) say(`Process ${holder} is building Posthorn: waiting for it …`);
    await sleep(POLL_MS);
  }
}

/**
 * @type {(lock: string) => number | null}
 * @returns null if this process has it now, else the process that has it, or had it and is dead
 */
function tryLock(lock) {
  try {
    const file = openSync(lock, 'wx');
    writeSync(file, String(process.pid));
    closeSync(file);
    return null;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  const holder = holderOf(lock);
  // Should two processes remove the lock of a dead one, both build, each in a folder of its own.
  if (!isAlive(holder)) rmSync(lock, { force: true });
  return holder;
}

/** @type {(lock: string) => number} */
function holderOf(lock) {
  try {
    // Just created, its holder may not have written yet: 0, which counts as alive.
    return Number(readFileSync(lock, 'utf8'));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return 0;
  }
}

/** @type {(pid: number) => boolean} */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is alive, and another user's.
    return codeOf(error) === 'EPERM';
  }
}

/** @type {(error: unknown) => string | undefined} */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error).code;
}
