import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, readFile, readlink, realpath, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The user that PostgreSQL runs as when the service itself is root, which PostgreSQL refuses to be. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

export interface PostgresHome {
  /** Absolute path of the folder with the database, its log and, where needed, a copy of the binaries. */
  folder: string;
  /** Absent where the service is an ordinary user: then PostgreSQL runs as the same. */
  account?: Account;
}

/** Name of the cluster in its home, and of the link to it in the data folder if they differ. */
export const CLUSTER_NAME = 'postgres';

/** For root whose data folder no other user can enter. */
const ROOMS_FOR_ROOT = '/var/lib/posthorn';

/**
 * Where the database lives and who runs it: the data folder itself, and this user. For root it is an
 * unprivileged account, and, if the data folder lies where that account cannot go (`/root/x`), a room
 * below /var/lib/posthorn that the data folder then links to.
 *
 * @throws Error that says how to open the way, or how to do without
 */
export async function findPostgresHome(dataDir: string, log: (line: string) => void): Promise<PostgresHome> {
  await mkdir(dataDir, { recursive: true });
  const link = await readlink(join(dataDir, CLUSTER_NAME)).catch(() => null);
  const folder = link === null ? await realpath(dataDir) : dirname(link);
  const cluster = join(folder, CLUSTER_NAME);
  const owner = await lstat(cluster).catch(() => null);

  if (process.getuid?.() !== 0) {
    if (owner && process.getuid && owner.uid !== process.getuid()) {
      throw new Error(
        `${cluster} belongs to another user (uid ${owner.uid}), probably since the service ran as root. ` +
          `Start it as root again, or hand it over: sudo chown -R $(id -u):$(id -g) ${folder}`,
      );
    }
    return { folder };
  }

  if (owner) {
    const account = { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
    if (owner.uid !== 0 && (await canEnter(folder, account))) return { folder, account };
    const { name } = await unprivilegedAccount();
    throw new Error(
      `PostgreSQL does not run as root, and no other user can use ${cluster}. ` +
        `Let one: chown -R ${name} ${cluster}, and chmod o+x each folder above it; ` +
        'or move it away to begin with an empty database.',
    );
  }
  const account = await unprivilegedAccount();
  if (await canEnter(folder, account)) return { folder, account };
  return { folder: await makeRoom(dataDir, account, log), account };
}

async function unprivilegedAccount(): Promise<Account> {
  const accounts = (await readFile('/etc/passwd', 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter(({ name, uid, gid }) => name !== '' && uid > 0 && Number.isInteger(gid));
  const account =
    accounts.find(({ name }) => name === 'postgres') ??
    accounts.find(({ name }) => name === 'nobody') ??
    accounts[0];
  if (account) return account;
  // initdb looks its user up by getpwuid, so a spare uid without an entry does not do.
  throw new Error(
    'PostgreSQL does not run as root, and /etc/passwd has no other user. ' +
      'Add one (useradd --system postgres), start as an ordinary user, or set DATABASE_URL.',
  );
}

async function makeRoom(dataDir: string, account: Account, log: (line: string) => void): Promise<string> {
  const folder = join(ROOMS_FOR_ROOT, randomBytes(6).toString('hex'));
  const advice = `Set DATA_DIR to a folder below one that every user can enter, or set DATABASE_URL.`;
  const reason = `PostgreSQL does not run as root, and user ${account.name} cannot enter ${dataDir}`;
  try {
    await mkdir(folder, { recursive: true });
    // Explicit, for mkdir's mode is cut by the umask.
    await chmod(ROOMS_FOR_ROOT, 0o711);
    await chmod(folder, 0o711);
    await symlink(join(folder, CLUSTER_NAME), join(dataDir, CLUSTER_NAME));
  } catch (error) {
    throw new Error(`${reason} (${String(error)}). ${advice}`, { cause: error });
  }
  if (!(await canEnter(folder, account))) throw new Error(`${reason}, nor ${folder}. ${advice}`);
  log(`${reason}: the database is kept in ${folder}.`);
  return folder;
}

/** Whether the account may go through every folder on the way to this one, and into it. */
export async function canEnter(folder: string, account: Account): Promise<boolean> {
  for (let current = await realpath(folder); ; current = dirname(current)) {
    if (!(await isPermitted(current, account, 0o1))) return false;
    if (current === dirname(current)) return true;
  }
}

/** Whether the mode bits (4 read, 2 write, 1 execute or enter) of one file are granted to the account. */
export async function isPermitted(path: string, account: Account, bits: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path);
  const granted = uid === account.uid ? mode >> 6 : gid === account.gid ? mode >> 3 : mode;
  return (granted & bits) === bits;
}
