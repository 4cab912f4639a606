import { createHash } from 'node:crypto';
import { open, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FolderLock {
  release(): Promise<void>;
}

export class FolderInUseError extends Error {
  constructor(
    folder: string,
    /** The process that holds the lock, if it told. */
    readonly pid: number | null,
  ) {
    super(`${folder} is in use`);
  }
}

const LOCK_NAME = 'service.lock';
/** `sun_path` holds 108 bytes on Linux and 104 on macOS, with the closing zero. */
const MAX_SOCKET_PATH = 100;
const ANSWER_TIMEOUT_MS = 500;

/**
 * Takes a folder for this process alone. The lock is a Unix socket that this process listens on: the
 * kernel lets go of it however the process ends, and, unlike a pid in a file, it means the same to two
 * containers that share a volume.
 *
 * @throws FolderInUseError if a living process holds it
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const socket = await socketPath(folder);
  for (let attempt = 0; attempt < 5; attempt++) {
    const server = await listen(socket.path);
    if (server) {
      return {
        release: async () => {
          await new Promise((done) => server.close(done));
          await socket.close();
        },
      };
    }
    const seen = await identity(socket.path);
    const answer = (await askHolder(socket.path)) ?? (await sleep(50).then(() => askHolder(socket.path)));
    if (answer) {
      await socket.close();
      throw new FolderInUseError(folder, answer.pid);
    }
    // No answer: a process that was killed has left it. Another process may have replaced it meanwhile;
    // PostgreSQL's own lock is the guard for the microseconds between these two calls.
    if (seen !== null && (await identity(socket.path)) === seen)
      await unlink(socket.path).catch(ignoreMissing);
  }
  await socket.close();
  throw new FolderInUseError(folder, null);
}

/** Resolves to null if the address is taken, by a living process or by what a killed one left. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((asking) => {
      asking.on('error', () => asking.destroy());
      asking.end(String(process.pid));
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else
        reject(
          new Error(
            `Cannot make the lock ${path} (${error.message}). Set DATA_DIR to a folder on a local disk.`,
          ),
        );
    });
    // Any user may ask who holds it, so that none takes another user's lock for a dead one.
    server.listen({ path, writableAll: true }, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** Resolves to undefined if no process listens. */
function askHolder(path: string): Promise<{ pid: number | null } | undefined> {
  return new Promise((resolve) => {
    let answer = '';
    let connected = false;
    const finish = (): void => {
      client.destroy();
      const pid = Number.parseInt(answer, 10);
      resolve(connected ? { pid: Number.isNaN(pid) ? null : pid } : undefined);
    };
    const client = connect(path, () => (connected = true));
    client.setTimeout(ANSWER_TIMEOUT_MS, finish);
    client.on('data', (chunk) => (answer += chunk.toString()));
    client.on('end', finish);
    client.on('error', finish);
  });
}

async function identity(path: string): Promise<string | null> {
  const found = await stat(path, { bigint: true }).catch(() => null);
  return found && `${found.dev}:${found.ino}:${found.mtimeNs}`;
}

async function socketPath(folder: string): Promise<{ path: string; close: () => Promise<void> }> {
  const path = join(folder, LOCK_NAME);
  const nothing = (): Promise<void> => Promise.resolve();
  if (process.platform === 'win32') {
    const name = createHash('sha256').update(folder.toLowerCase()).digest('hex').slice(0, 32);
    return { path: `\\\\.\\pipe\\posthorn-${name}`, close: nothing };
  }
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return { path, close: nothing };
  if (process.platform === 'linux') {
    const handle = await open(folder);
    return { path: `/proc/self/fd/${handle.fd}/${LOCK_NAME}`, close: () => handle.close() };
  }
  throw new Error(`The path ${folder} is too long for a lock. Set DATA_DIR to a shorter one.`);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
