import { execFile } from 'node:child_process';
import { open, readFile, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { PostgresBinaries } from './postgres-binaries.js';
import type { PostgresCluster } from './postgres-cluster.js';
import type { PostgresHome } from './postgres-home.js';
import { spawnInHome } from './postgres-process.js';

/** A running PostgreSQL server process that accepts connections. */
export interface Postmaster {
  readonly pid: number;
  /** Resolves when the process has ended, whatever the reason. */
  readonly exited: Promise<void>;
  /** Fast shutdown, then by force; resolves when the process has ended. */
  stop(): Promise<void>;
}

export class PostmasterError extends Error {
  constructor(
    readonly reason: 'port-taken' | 'old-backends' | 'other',
    explanation: string,
  ) {
    super(`PostgreSQL did not start: ${explanation}`);
  }
}

export interface PostmasterOptions {
  binaries: PostgresBinaries;
  cluster: PostgresCluster;
  home: PostgresHome;
  port: number;
  durable: boolean;
  /** Calls the start off. */
  signal?: AbortSignal | undefined;
}

const POLL_MS = 20;
/** Crash recovery replays up to max_wal_size (1 GB) before it lets anybody in. */
const START_TIMEOUT_MS = 300_000;
const MAX_LOG_BYTES = 10_000_000;

/** Signals of the postmaster: fast shutdown, immediate shutdown (recovers at the next start), force. */
const STOP_STEPS = [
  { signal: 'SIGINT', waitMs: 20_000 },
  { signal: 'SIGQUIT', waitMs: 5_000 },
  { signal: 'SIGKILL', waitMs: 5_000 },
] as const;

/**
 * Starts the server and waits until it accepts connections.
 *
 * @throws PostmasterError with the end of the server's log if it does not come up; the reason of `signal`
 */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const { binaries, cluster, home } = options;
  const logFile = join(home.folder, 'postgres.log');
  // A file and not a pipe: the server must not block or fail when this process is killed.
  const log = await open(logFile, 'a', 0o600);
  try {
    if ((await log.stat()).size > MAX_LOG_BYTES) await log.truncate();
    const logStart = (await log.stat()).size;
    if (home.account) await log.chown(home.account.uid, home.account.gid);
    const args = ['-D', cluster.folder, ...settings(options)];
    const child = await spawnInHome(home, binaries.postgres, args, ['ignore', log.fd, log.fd]);
    let running = true;
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => {
        running = false;
        resolve();
      });
    });
    const isRunning = (): boolean => running;
    const postmaster = {
      pid: child.pid ?? 0,
      exited,
      stop: () => stopInSteps((signal) => child.kill(signal), isRunning),
    };
    const isWanted = (): boolean => running && options.signal?.aborted !== true;
    if (!(await becomesReady(postmaster.pid, cluster.folder, isWanted))) {
      await postmaster.stop();
      options.signal?.throwIfAborted();
      throw explainFailure(await tail(logFile, logStart), options.port, logFile);
    }
    return postmaster;
  } finally {
    await log.close();
  }
}

function settings({ port, durable }: PostmasterOptions): string[] {
  const values: Record<string, string | number> = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 100,
    shared_buffers: '256MB',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // Keeps failed statements, which may quote a row, out of the log file.
    log_min_messages: 'log',
    ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

async function becomesReady(pid: number, cluster: string, isWanted: () => boolean): Promise<boolean> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (isWanted() && Date.now() < deadline) {
    const file = await readPidFile(cluster);
    if (file?.pid === pid && file.status === 'ready') return true;
    await sleep(POLL_MS);
  }
  return false;
}

function explainFailure(log: string, port: number, logFile: string): PostmasterError {
  if (log.includes('Address already in use')) {
    return new PostmasterError('port-taken', `port ${port} is taken. Stop what uses it, or choose another.`);
  }
  if (log.includes('pre-existing shared memory block')) {
    const advice = 'processes of the one before have not ended yet. Wait a moment, or end them.';
    return new PostmasterError('old-backends', `${advice}\n${log}`);
  }
  return new PostmasterError('other', `its whole log is in ${logFile}.\n${log}`);
}

async function tail(file: string, from: number): Promise<string> {
  const added = (await readFile(file)).subarray(from).toString();
  return added.trim().split('\n').slice(-15).join('\n');
}

/**
 * Makes way for a new postmaster: shuts down one that outlived its service (kill -9), and removes a pid
 * file whose number now belongs to another program. Never signals a process that is not the postmaster
 * of this very cluster. The caller holds the lock of the home folder, so no living service owns it.
 */
export async function clearOldPostmaster(cluster: string, log: (line: string) => void): Promise<void> {
  const file = await readPidFile(cluster);
  if (!file || !isAlive(file.pid)) return; // PostgreSQL itself replaces the file of a dead process
  if (!(await isPostmasterOf(cluster, file.pid))) {
    log(`Removing a stale postmaster.pid: process ${file.pid} is not this PostgreSQL.`);
    await unlink(join(cluster, 'postmaster.pid'));
    return;
  }
  log(`Stopping the PostgreSQL (process ${file.pid}) that an earlier service left running.`);
  await stopInSteps(
    (signal) => isAlive(file.pid) && process.kill(file.pid, signal),
    () => isPostmasterOf(cluster, file.pid),
  );
}

/** Lines as in PostgreSQL's src/include/utils/pidfile.h: the first is the pid, the eighth the status. */
async function readPidFile(cluster: string): Promise<{ pid: number; status: string } | null> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 1 ? { pid, status: (lines[7] ?? '').trim() } : null;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function isPostmasterOf(cluster: string, pid: number): Promise<boolean> {
  if (process.platform === 'linux') {
    // A postmaster works in its data directory. Fails for a zombie, which has none any more.
    const [cwd, own] = await Promise.all([stat(`/proc/${pid}/cwd`).catch(() => null), stat(cluster)]);
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    return name.trim() === 'postgres' && cwd?.ino === own.ino && cwd.dev === own.dev;
  }
  const command = await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).catch(
    () => null,
  );
  return command !== null && command.stdout.includes('postgres') && command.stdout.includes(`-D ${cluster}`);
}

async function stopInSteps(
  kill: (signal: NodeJS.Signals) => unknown,
  isRunning: () => boolean | Promise<boolean>,
): Promise<void> {
  for (const { signal, waitMs } of STOP_STEPS) {
    if (!(await isRunning())) return;
    kill(signal);
    const deadline = Date.now() + waitMs;
    while (Date.now() < deadline) {
      if (!(await isRunning())) return;
      await sleep(POLL_MS);
    }
  }
}
