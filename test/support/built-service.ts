import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { builtMain } from './build.js';
import { createDatabase } from './database.js';
import { ENCRYPTION_KEY } from './encryption-key.js';
import { ADMIN_KEY, client, type Client } from './posthorn.js';
import { CannotHappen, waitFor } from './wait-for.js';

/** The built service in a process of its own, on a database of the tests' PostgreSQL. */
export interface BuiltService {
  url: string;
  pid: number;
  admin: Client;
  /** With the key of a tenant that this makes. */
  tenant(): Promise<Client>;
  stdout(): string;
  stderr(): string;
  /** SIGTERM; resolves with the exit code when it has ended and its own database is gone. */
  stop(): Promise<number | null>;
  /** kill -9; resolves when it has ended. Its database is left behind. */
  kill(): Promise<void>;
}

/**
 * @param options main: another copy of dist/src/main.js; databaseUrl: an existing database instead of a fresh one, which
 *   is then not dropped; the rest is for the process
 */
export async function startBuiltService({
  main,
  databaseUrl,
  env,
  ...options
}: SpawnOptions & { main?: string; databaseUrl?: string } = {}): Promise<BuiltService> {
  const database = databaseUrl ? { url: databaseUrl, drop: () => Promise.resolve() } : await createDatabase();
  const child: ChildProcess = spawn(process.execPath, [main ?? (await builtMain())], {
    ...options,
    env: {
      PATH: process.env['PATH'],
      HOST: '127.0.0.1',
      PORT: '0',
      ADMIN_API_KEY: ADMIN_KEY,
      ENCRYPTION_KEY,
      ALLOW_TARGET_RANGES: '127.0.0.0/8',
      MIN_RETRY_DELAY_SECONDS: '0',
      SWEEP_INTERVAL_SECONDS: '0.5',
      ...env,
      DATABASE_URL: database.url,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => (said[name] += text));
  }
  const ended = once(child, 'close') as Promise<[number | null]>;
  const endWithUs = () => child.kill('SIGKILL');
  process.once('exit', endWithUs);
  const url = await waitFor(
    () => {
      if (child.exitCode !== null) throw new CannotHappen(`It ended with ${child.exitCode}:\n${said.stderr}`);
      return /Health +(http:\S+)\/health/.exec(said.stderr)?.[1]?.replace('localhost', '127.0.0.1');
    },
    { what: 'Posthorn to start' },
  );
  const admin = client(url, ADMIN_KEY);
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    const [code] = await ended;
    process.removeListener('exit', endWithUs);
    return code;
  };
  return {
    url,
    pid: child.pid!,
    admin,
    tenant: async () => client(url, (await admin.request('POST', '/tenants', { name: 'one' })).body.api_key),
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    stop: async () => {
      const code = await end('SIGTERM');
      await database.drop();
      return code;
    },
    kill: async () => {
      await end('SIGKILL');
    },
  };
}
