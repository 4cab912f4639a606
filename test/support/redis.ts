import { spawn } from 'node:child_process';
import { Redis } from 'ioredis';
import { inject } from 'vitest';
import { freePort } from '../../src/embedded/free-port.js';
import { findRedisServer } from './redis-server.js';
import { waitFor } from './wait-for.js';

export interface RedisServer {
  url: string;
  port: number;
  /** Clean shutdown, like a restart for an upgrade. */
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  /** FLUSHALL. */
  flush(): Promise<void>;
}

/**
 * An empty logical database of the Redis that all tests share, of its own for each caller. (Servers
 * usually have 16, ours many more: with few of them, a database comes round again.)
 */
export async function freshRedis(): Promise<{ url: string; flush(): Promise<void> }> {
  const server = inject('redisUrl');
  const index = await withClient(server, async (client) => {
    const [, count] = (await client.config('GET', 'databases')) as [string, string];
    return 1 + ((await client.incr('posthorn:next-test-database')) % (Number(count) - 1));
  });
  const url = new URL(server);
  url.pathname = `/${index}`;
  const flush = (): Promise<void> =>
    withClient(url.href, async (client) => {
      await client.flushdb();
    });
  await flush();
  return { url: url.href, flush };
}

/**
 * An own server, for tests that stop or kill it. Start it again with its `port`; what it held is gone
 * unless a `folder` for an append-only file is given, both times.
 */
export async function startRedis(port?: number, folder?: string): Promise<RedisServer> {
  const listenOn = port ?? (await freePort());
  const persistence =
    folder === undefined ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--dir', folder];
  return startRedisProgram(listenOn, ['--databases', '512', '--save', '', ...persistence]);
}

/** redis-server with arguments of its own, on this port of 127.0.0.1; `configFile` as Sentinels need one. */
export async function startRedisProgram(
  listenOn: number,
  settings: string[],
  configFile?: string,
): Promise<RedisServer> {
  const program = findRedisServer();
  const args = ['--port', String(listenOn), '--bind', '127.0.0.1', ...settings];
  if (configFile !== undefined) args.unshift(configFile);

  // The shell outlives nobody: its input closes when this process ends, however it ends, and Redis with it.
  const shell = spawn('sh', ['-c', '"$@" & echo $!; cat; kill -9 $!', 'sh', program.path, ...args], {
    env: {
      ...process.env,
      ...(program.libraryPath !== undefined && { LD_LIBRARY_PATH: program.libraryPath }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  });
  let output = '';
  shell.stdout.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(0, 10_000)));
  const closed = new Promise<void>((resolve) => shell.once('close', () => resolve()));

  const pid = await waitFor(() => Number.parseInt(output, 10), { what: 'the process id of Redis' });
  const url = `redis://127.0.0.1:${listenOn}`;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (isAlive(pid)) process.kill(pid, signal);
    await waitFor(() => !isAlive(pid), { what: `Redis to end on ${signal}` });
    shell.stdin.end();
    await closed;
  };
  try {
    await waitFor(() => answers(url, pid), { what: `Redis on port ${listenOn}` });
  } catch (error) {
    await end('SIGKILL');
    throw new Error(`Redis did not start:\n${output}`, { cause: error });
  }
  return {
    url,
    port: listenOn,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    flush: () =>
      withClient(url, async (client) => {
        await client.flushall();
      }),
  };
}

/** Whether this very process, and not another one on its port, answers. */
async function answers(url: string, pid: number): Promise<boolean> {
  return withClient(url, async (client) => (await client.info('server')).includes(`process_id:${pid}\r`));
}

async function withClient<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 });
  client.on('error', () => undefined); // the promise below tells
  try {
    await client.connect();
    return await use(client);
  } finally {
    client.disconnect();
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
