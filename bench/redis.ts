import { Redis } from 'ioredis';
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../src/embedded/free-port.js';

const NAMES = ['redis-server', 'valkey-server'];
const START_MS = 5_000;

export interface BenchRedis {
  url: string;
  /** Null when it is not ours. */
  pid: number | null;
  version: string;
  stop(): Promise<void>;
}

/**
 * A Redis of the PATH on a free port, without persistence.
 * @throws Error that says what to install
 */
export async function startRedis(): Promise<BenchRedis> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const program = folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(isExecutable);
  if (program === undefined) {
    throw new Error(
      'The benchmark needs Redis: install redis-server (or valkey-server), or set BENCH_REDIS_URL.',
    );
  }
  const port = await freePort();
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  // The shell's input closes when this process ends, however it ends; then it ends Redis.
  const script = '"$@" >/dev/null & echo $!; cat; kill -9 $!';
  const shell = spawn('sh', ['-c', script, 'sh', program, ...settings], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  });
  const closed = new Promise<void>((resolve) => shell.once('close', () => resolve()));
  const pid = await new Promise<number>((resolve) =>
    shell.stdout.once('data', (line: Buffer) => resolve(Number.parseInt(line.toString(), 10))),
  );
  const url = `redis://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    shell.stdin.end();
    await closed;
  };
  try {
    return { url, pid, version: await versionOf(url), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export async function useRedis(url: string): Promise<BenchRedis> {
  return { url, pid: null, version: await versionOf(url), stop: () => Promise.resolve() };
}

/** Waits until it answers. */
async function versionOf(url: string): Promise<string> {
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: START_MS / 50 });
  client.on('error', () => undefined); // the command below tells
  try {
    const info = await Promise.race([client.info('server'), sleep(START_MS, '', { ref: false })]);
    if (info === '') throw new Error(`No Redis answers at ${url}.`);
    return /redis_version:(\S+)/.exec(info)?.[1] ?? 'of unknown version';
  } finally {
    client.disconnect();
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
