import { randomBytes } from 'node:crypto';
import { chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PostgresBinaries } from './postgres-binaries.js';
import { CLUSTER_NAME, type PostgresHome } from './postgres-home.js';
import { spawnInHome } from './postgres-process.js';

/** A PostgreSQL data directory and the superuser in it. */
export interface PostgresCluster {
  folder: string;
  user: string;
  password: string;
}

const USER = 'posthorn';
const PASSWORD_FILE = 'posthorn.password';
const UNFINISHED = `${CLUSTER_NAME}.initdb-`;

/**
 * Opens the cluster of a home folder, or makes it. It is made under another name and renamed when
 * complete, password included, so an interrupted initdb leaves nothing that looks like a database.
 * The caller holds the lock of the home folder.
 *
 * @throws Error if the cluster is of another major version, or is not a cluster
 */
export async function openCluster(
  home: PostgresHome,
  binaries: PostgresBinaries,
  options: { log: (line: string) => void; durable?: boolean; signal?: AbortSignal },
): Promise<PostgresCluster> {
  await removeUnfinished(home.folder);
  const folder = join(home.folder, CLUSTER_NAME);
  const content = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  if (content.length === 0) {
    options.log(`Making a PostgreSQL ${binaries.majorVersion} database in ${folder}.`);
    await makeCluster(folder, home, binaries, options);
  }
  await checkVersion(folder, binaries.majorVersion);
  return { folder, user: USER, password: await readPassword(folder) };
}

async function removeUnfinished(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(UNFINISHED));
  for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
}

async function makeCluster(
  folder: string,
  home: PostgresHome,
  binaries: PostgresBinaries,
  { durable = true, signal }: { durable?: boolean; signal?: AbortSignal },
): Promise<void> {
  const workshop = join(home.folder, `${UNFINISHED}${randomBytes(4).toString('hex')}`);
  const cluster = join(workshop, CLUSTER_NAME);
  const passwordFile = join(workshop, PASSWORD_FILE);
  await mkdir(workshop, { mode: 0o700 });
  await writeFile(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
  if (home.account) {
    const { uid, gid } = home.account;
    await Promise.all([workshop, passwordFile].map((path) => chown(path, uid, gid)));
  }
  try {
    const initdb = [
      `--pgdata=${cluster}`,
      `--username=${USER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // Sorting by code point, the same on every machine; needs no locale of the system.
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      ...(durable ? [] : ['--no-sync']),
    ];
    await runInitdb(home, binaries.initdb, initdb, signal);
    await rename(passwordFile, join(cluster, PASSWORD_FILE));
    await rename(cluster, folder);
  } finally {
    await rm(workshop, { recursive: true, force: true });
  }
}

async function runInitdb(
  home: PostgresHome,
  program: string,
  args: string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const child = await spawnInHome(home, program, args, ['ignore', 'pipe', 'pipe']);
  const callOff = () => child.kill('SIGINT');
  signal?.addEventListener('abort', callOff);
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  signal?.removeEventListener('abort', callOff);
  signal?.throwIfAborted();
  if (code !== 0) throw new Error(`Cannot make a PostgreSQL database. ${advice(output)}\n${output.trim()}`);
}

function advice(output: string): string {
  if (output.includes('No space left')) return 'Free some disk space, or set DATA_DIR to another disk.';
  if (output.includes('could not look up effective user ID'))
    return 'PostgreSQL needs an entry in /etc/passwd for the user it runs as: add one, or set DATABASE_URL.';
  return 'Put right what it names and start again, or set DATABASE_URL to use a PostgreSQL server instead.';
}

async function checkVersion(folder: string, majorVersion: string): Promise<void> {
  const found = await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(() => null);
  if (found === null) {
    throw new Error(
      `${folder} is not a PostgreSQL database. Move it away, or set DATA_DIR to another folder.`,
    );
  }
  if (found.trim() === majorVersion) return;
  throw new Error(
    `${folder} was made by PostgreSQL ${found.trim()}; this release brings PostgreSQL ${majorVersion}. ` +
      'To keep the data, start the release that made it, pg_dump its database, and load the dump here. ' +
      'To begin with an empty database, move the folder away.',
  );
}

async function readPassword(folder: string): Promise<string> {
  const file = join(folder, PASSWORD_FILE);
  const password = await readFile(file, 'utf8').catch(() => '');
  if (password !== '') return password.trim();
  throw new Error(`${file} is missing: put it back, or move ${folder} away to begin with an empty database.`);
}
