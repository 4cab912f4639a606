import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { request } from 'undici';
import type { Role } from '../src/config/config.js';
import { startEmbeddedPostgres } from '../src/embedded/embedded-postgres.js';
import { freePort } from '../src/embedded/free-port.js';
import type { Load } from './load.js';
import type { BenchOptions } from './options.js';
import { Program } from './program.js';
import { startRedis, useRedis } from './redis.js';
import type { Probe } from './role-probe.js';
import type { Sink } from './sink.js';

export const ADMIN_KEY = 'admin-key-of-the-benchmark';
const ROLES = ['api', 'worker', 'scheduler'] as const satisfies Role[];
const READY_MS = 30_000;

/** Everything that a benchmark needs, each part in a process of its own, all on 127.0.0.1. */
export interface Stand {
  apiUrl: string;
  sinkUrl: string;
  roles: Record<(typeof ROLES)[number], Program<Probe>>;
  /** All processes of each role; those of `roles` are the first. */
  processes: Record<(typeof ROLES)[number], Program<Probe>[]>;
  apiUrls: string[];
  sink: Program<Sink>;
  load: Program<Load>;
  database: pg.Pool;
  databaseUrl: string;
  postgresPid: number | null;
  redisPid: number | null;
  redisUrl: string;
  folder: string;
  versions: { postgres: string; redis: string; fsync: string };
}

/** What has been started, to be ended in reverse order. */
export class Closers {
  private readonly closers: (() => Promise<unknown>)[] = [];
  private closing: Promise<void> | undefined;

  add(closer: () => Promise<unknown>): void {
    this.closers.push(closer);
  }

  get isClosing(): boolean {
    return this.closing !== undefined;
  }

  close(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  private async closeAll(): Promise<void> {
    for (let close = this.closers.pop(); close; close = this.closers.pop()) {
      await close().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
    }
  }
}

/** How many processes of a role there are, and what they are told besides. */
export interface Crowd {
  apis: number;
  workers: number;
  env?: Record<string, string>;
}

/** Starts everything. What was started is in `closers`, also when this throws. */
export async function startStand(
  options: BenchOptions,
  closers: Closers,
  crowd: Crowd = { apis: 1, workers: 1 },
): Promise<Stand> {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-bench-'));
  // PostgreSQL may run as another user than this process, and has to get in.
  chmodSync(folder, 0o711);
  closers.add(() => rm(folder, { recursive: true, force: true }));

  const { url: serverUrl, pid: postgresPid } = await startPostgres(options, folder, closers);
  const { url: databaseUrl, pool: database } = await createDatabase(serverUrl, closers);
  const redis = options.redisUrl === null ? await startRedis() : await useRedis(options.redisUrl);
  closers.add(() => redis.stop());

  const start = <M extends Record<string, (...args: never[]) => unknown>>(name: string): Program<M> => {
    const module = join(import.meta.dirname, `${name}.js`);
    const program = Program.start<M>({ name, module, logFile: join(folder, `${name}.log`) });
    closers.add(() => program.stop());
    return program;
  };
  const sink = start<Sink>('sink');
  const load = start<Load>('load');

  const env = {
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    DATABASE_URL: databaseUrl,
    REDIS_URL: redis.url,
    QUEUE_PREFIX: `bench-${process.pid}`,
    // Counted, and out of reach.
    TENANT_RATE_LIMIT: '1000000',
    TENANT_RATE_BURST: '10000000',
    TENANT_MAX_SUBSCRIPTIONS: '1000000',
    ADMIN_API_KEY: ADMIN_KEY,
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ALLOW_TARGET_RANGES: '127.0.0.0/8',
    ...crowd.env,
  };
  const counts = { api: crowd.apis, worker: crowd.workers, scheduler: 1 };
  const processes: Stand['processes'] = { api: [], worker: [], scheduler: [] };
  const apiUrls: string[] = [];
  for (const role of ROLES) {
    for (let number = 0; number < counts[role]; number++) {
      const { program, url } = await startRole(role, env, { folder, closers });
      processes[role].push(program);
      if (role === 'api') apiUrls.push(url);
    }
  }
  const { rows } = await database.query<{ version: string; fsync: string }>(
    `select current_setting('server_version') as version, current_setting('fsync') as fsync`,
  );
  return {
    apiUrl: apiUrls[0]!,
    apiUrls,
    sinkUrl: await sink.call('url'),
    roles: { api: processes.api[0]!, worker: processes.worker[0]!, scheduler: processes.scheduler[0]! },
    processes,
    sink,
    load,
    database,
    databaseUrl,
    postgresPid,
    redisPid: redis.pid,
    redisUrl: redis.url,
    folder,
    versions: { postgres: rows[0]!.version, redis: redis.version, fsync: rows[0]!.fsync },
  };
}

async function startPostgres({ databaseUrl, profileFolder }: BenchOptions, folder: string, closers: Closers) {
  if (databaseUrl !== null) return { url: databaseUrl, pid: null };
  const start = () =>
    startEmbeddedPostgres({ dataDir: join(folder, 'data'), log: () => undefined, durable: true });
  let postgres = await start();
  closers.add(() => postgres.stop());
  if (profileFolder !== null) {
    // It loads libraries only while it starts.
    await onServer(postgres.url, `alter system set shared_preload_libraries = 'pg_stat_statements'`);
    await postgres.stop();
    postgres = await start();
  }
  return { url: postgres.url, pid: postgres.pid };
}

async function createDatabase(serverUrl: string, closers: Closers) {
  const name = `posthorn_bench_${process.pid}`;
  await onServer(serverUrl, `create database ${name}`);
  closers.add(() => onServer(serverUrl, `drop database if exists ${name} with (force)`));
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const pool = new pg.Pool({ connectionString: url.href, max: 16 });
  pool.on('error', () => undefined); // the next statement tells
  closers.add(() => pool.end());
  return { url: url.href, pool };
}

async function onServer(serverUrl: string, sql: string): Promise<void> {
  const client = new pg.Client(serverUrl);
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

async function startRole(
  role: Role,
  env: Record<string, string>,
  { folder, closers }: { folder: string; closers: Closers },
) {
  const execArgv = [...nodeFlags(), '--import', join(import.meta.dirname, 'role-probe.js')];
  const port = await freePort();
  const program = Program.start<Probe>({
    name: role,
    module: join(import.meta.dirname, '../src/main.js'),
    logFile: join(folder, `${role}.log`),
    execArgv,
    env: { ...env, ROLE: role, PORT: String(port) },
    // Where no .env file of a developer lies.
    cwd: folder,
  });
  closers.add(() => program.stop());
  const url = `http://127.0.0.1:${port}`;
  await untilReady(program, url);
  return { program, url };
}

/** What `npm run start:prod` gives Node. */
function nodeFlags(): string[] {
  const file = 'package.json'; // npm runs scripts in the folder that holds it
  const { scripts } = JSON.parse(readFileSync(file, 'utf8')) as { scripts: Record<string, string> };
  return scripts['start:prod']!.split(' ').filter((word) => word.startsWith('--'));
}

async function untilReady(program: Program<Probe>, url: string): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    const status = await request(`${url}/ready`).then(
      async ({ statusCode, body }) => (await body.dump(), statusCode),
      () => 0,
    );
    if (status === 200) return;
    if (!program.isRunning || Date.now() > deadline) {
      throw new Error(`${url} is not ready (${status}): ${program.lastWords()}`);
    }
    await sleep(50);
  }
}
