import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import type { PostgresHome } from './postgres-home.js';

/**
 * What the programs of PostgreSQL get to see: nothing of ours, so that no PGDATA, PGOPTIONS or
 * LD_LIBRARY_PATH of the surroundings reaches them.
 */
const ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC' };

/**
 * Runs a program of PostgreSQL as the account of the home folder. A service that ends without stopping it (an
 * uncaught error, a second Ctrl-C) interrupts it: a postmaster shuts down fast, initdb cleans up.
 *
 * @throws Error that says what keeps it from running here
 */
export function spawnInHome(
  { account, folder }: PostgresHome,
  program: string,
  args: string[],
  stdio: StdioOptions,
): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    try {
      const child = spawn(program, args, {
        cwd: folder,
        env: ENVIRONMENT,
        stdio,
        // Its own session: Ctrl-C at the terminal reaches the service alone, which stops PostgreSQL last.
        detached: true,
        ...(account && { uid: account.uid, gid: account.gid }),
      });
      const interrupt = (): void => void child.kill('SIGINT');
      process.once('exit', interrupt);
      child.once('exit', () => process.removeListener('exit', interrupt));
      child.once('spawn', () => resolve(child));
      child.once('error', (error) => reject(cannotRun(program, error)));
    } catch (error) {
      reject(cannotRun(program, error as NodeJS.ErrnoException));
    }
  });
}

function cannotRun(program: string, error: NodeJS.ErrnoException): Error {
  const reasons: Record<string, string> = {
    ENOENT: 'this system lacks what it is linked with (it needs glibc; Alpine has musl)',
    EPERM: 'root may not become another user here (the container lacks CAP_SETUID)',
    EINVAL: 'the user it should run as does not exist in this container',
    EACCES: 'it is not executable (the file system may be mounted noexec)',
  };
  const reason = reasons[error.code ?? ''] ?? error.message;
  return new Error(`Cannot run ${program}: ${reason}. Set DATABASE_URL to use a PostgreSQL server instead.`, {
    cause: error,
  });
}
