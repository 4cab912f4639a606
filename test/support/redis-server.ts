import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

export interface RedisProgram {
  path: string;
  /** LD_LIBRARY_PATH where the program was unpacked without being installed. */
  libraryPath?: string;
}

const NAMES = ['redis-server', 'valkey-server'];
const UNPACKED = resolve(import.meta.dirname, '../../node_modules/.cache/redis-server');
const HOW_TO =
  'The tests need Redis: install redis-server (or valkey-server), or set TEST_REDIS_URL to one they may flush.';

/**
 * A Redis from the PATH; where there is none, apt installs one (as root), or unpacks one below
 * node_modules/.cache (as anybody else).
 *
 * @throws Error that says what to install
 */
export function findRedisServer(): RedisProgram {
  return installed() ?? unpacked() ?? install();
}

function installed(): RedisProgram | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'];
  const path = folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(isExecutable);
  return path === undefined ? undefined : { path };
}

function unpacked(): RedisProgram | undefined {
  const path = join(UNPACKED, 'usr/bin/redis-server');
  if (!isExecutable(path)) return undefined;
  const folders = ['usr/lib', 'lib']
    .map((name) => join(UNPACKED, name))
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((folder) => folder.endsWith('-linux-gnu'));
  return { path, libraryPath: folders.join(':') };
}

function install(): RedisProgram {
  process.stderr.write('No redis-server here: getting one with apt.\n');
  try {
    if (process.getuid?.() === 0) installAsRoot();
    else unpackAsUser();
  } catch (error) {
    throw new Error(HOW_TO, { cause: error });
  }
  const program = installed() ?? unpacked();
  if (!program) throw new Error(HOW_TO);
  return program;
}

function installAsRoot(): void {
  run('apt-get', ['update']);
  run('apt-get', ['install', '-y', '--no-install-recommends', 'redis-server']);
}

function unpackAsUser(): void {
  const work = `${UNPACKED}.${process.pid}`;
  // Package lists of our own: the system's may be empty, and only root may update them.
  const own = [`Dir::State=${work}/apt`, 'Dir::State::status=/var/lib/dpkg/status', `Dir::Cache=${work}/apt`];
  const options = own.flatMap((option) => ['-o', option]);
  mkdirSync(join(work, 'apt/lists/partial'), { recursive: true });
  mkdirSync(join(work, 'apt/archives/partial'), { recursive: true });
  try {
    run('apt-get', [...options, 'update']);
    const plan = run('apt-get', [...options, 'install', '-s', '--no-install-recommends', 'redis-server']);
    const packages = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name!);
    run('apt-get', [...options, 'download', ...packages], work);
    for (const file of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
      run('dpkg', ['-x', join(work, file), join(work, 'root')]);
    }
    rmSync(UNPACKED, { recursive: true, force: true });
    renameSync(join(work, 'root'), UNPACKED);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(command: string, args: string[], cwd?: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    // RUNLEVEL=1 keeps the package from starting a system service.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
