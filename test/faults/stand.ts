import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.js';
import { freePort } from '../../src/embedded/free-port.js';
import { builtMain } from '../support/build.js';
import { execute, withDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { findRedisServer } from '../support/redis-server.js';
import { RedisServer, startRedis } from '../support/redis.js';
import { startTcpProxy, TcpProxy } from '../support/tcp-proxy.js';
import { AUDIT } from './audit.js';
import { RoleProcess } from './role-process.js';
import { startSubscriber, Subscriber } from './subscriber.js';

export const ADMIN_KEY = 'admin-key-of-the-fault-suite';
export const LEASE_MS = 5_000;
export const DELIVERY_TIMEOUT_MS = 2_500;
export const SWEEP_MS = 1_000;
const DATABASE = 'faults';

/** Short, so that a round is; the rest is as it comes. */
const SETTINGS = {
  LEASE_SECONDS: String(LEASE_MS / 1000),
  DELIVERY_TIMEOUT_MS: String(DELIVERY_TIMEOUT_MS),
  CONNECT_TIMEOUT_MS: '1000',
  SWEEP_INTERVAL_SECONDS: String(SWEEP_MS / 1000),
  SHUTDOWN_DEADLINE_SECONDS: '5',
  DATABASE_POOL_SIZE: '6',
  LOG_LEVEL: 'warn',
  // Counted, and out of reach.
  TENANT_RATE_LIMIT: '1000000',
  TENANT_RATE_BURST: '10000000',
  ADMIN_API_KEY: ADMIN_KEY,
  ENCRYPTION_KEY,
  ALLOW_TARGET_RANGES: '127.0.0.0/8',
  MIN_RETRY_DELAY_SECONDS: '0',
};

export type RoleName = 'api' | 'workerA' | 'workerB' | 'scheduler';

/** A role, and what lies between it and what it needs. */
export interface Member {
  process: RoleProcess;
  toPostgres: TcpProxy;
  toRedis: TcpProxy;
}

/** A whole installation on 127.0.0.1, each part a process of its own, with a proxy on every line between them. */
export class Stand {
  private constructor(
    readonly folder: string,
    readonly postgres: EmbeddedPostgres,
    /** Straight to the database, past every proxy. */
    readonly database: pg.Pool,
    readonly databaseUrl: string,
    private redis: RedisServer,
    readonly subscriber: Subscriber,
    readonly toSubscriber: TcpProxy,
    readonly members: Record<RoleName, Member>,
    readonly versions: { postgres: string; redis: string },
    private readonly abort: () => void,
  ) {}

  static async start(): Promise<Stand> {
    const folder = await mkdtemp(join(tmpdir(), 'posthorn-faults-'));
    await chmod(folder, 0o711); // as root, PostgreSQL runs as another user
    const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), log: () => undefined });
    const abort = (): void => {
      process.kill(postgres.pid, 'SIGQUIT'); // immediate shutdown, when the suite itself is ended
    };
    process.once('exit', abort);
    await execute(postgres.url, `create database ${DATABASE}`);
    const databaseUrl = withDatabase(postgres.url, DATABASE);
    const redis = await startRedis(undefined, folder);
    const subscriber = await startSubscriber();
    const toSubscriber = await startTcpProxy(subscriber.url);
    const members = {
      api: await member('api', folder, databaseUrl, redis.url),
      workerA: await member('workerA', folder, databaseUrl, redis.url),
      workerB: await member('workerB', folder, databaseUrl, redis.url),
      scheduler: await member('scheduler', folder, databaseUrl, redis.url),
    };
    const database = new pg.Pool({ connectionString: databaseUrl, max: 4 });
    database.on('error', () => undefined); // the next statement tells
    const stand = new Stand(
      folder,
      postgres,
      database,
      databaseUrl,
      redis,
      subscriber,
      toSubscriber,
      members,
      { postgres: await versionOfPostgres(database), redis: versionOfRedis() },
      abort,
    );
    try {
      await Promise.all(stand.processes.map((process) => process.start()));
      await database.query(AUDIT);
      return stand;
    } catch (error) {
      const words = stand.lastWords();
      await stand.stop();
      throw new Error(`The installation did not start:\n${words}`, { cause: error });
    }
  }

  get processes(): RoleProcess[] {
    return Object.values(this.members).map((one) => one.process);
  }

  get api(): RoleProcess {
    return this.members.api.process;
  }

  /** kill -9 of the postmaster; what watches over it starts it again. */
  killPostgres(): void {
    process.kill(this.postgres.pid, 'SIGKILL');
  }

  flushRedis(): Promise<void> {
    return this.redis.flush();
  }

  killRedis(): Promise<void> {
    return this.redis.kill();
  }

  /** Starts Redis again on its port, with its append-only file or without what it knew. */
  async startRedis(withData: boolean): Promise<void> {
    if (!withData) await rm(join(this.folder, 'appendonlydir'), { recursive: true, force: true });
    this.redis = await startRedis(this.redis.port, this.folder);
  }

  /** What each process said last. */
  lastWords(): string {
    return this.processes.map((process) => `--- ${process.name}\n${process.lastWords()}\n`).join('');
  }

  async stop(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.kill()));
    await this.database.end();
    await Promise.all(
      Object.values(this.members).flatMap((one) => [one.toPostgres.close(), one.toRedis.close()]),
    );
    await this.toSubscriber.close();
    await this.subscriber.close();
    await this.redis.kill();
    await this.postgres.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

async function versionOfPostgres(database: pg.Pool): Promise<string> {
  const { rows } = await database.query<{ version: string }>(
    `select current_setting('server_version') as version`,
  );
  return rows[0]!.version;
}

function versionOfRedis(): string {
  const { path, libraryPath } = findRedisServer();
  const env = { ...process.env, ...(libraryPath !== undefined && { LD_LIBRARY_PATH: libraryPath }) };
  return /v=(\S+)/.exec(execFileSync(path, ['--version'], { env, encoding: 'utf8' }))?.[1] ?? 'unknown';
}

async function member(
  name: RoleName,
  folder: string,
  databaseUrl: string,
  redisUrl: string,
): Promise<Member> {
  const toPostgres = await startTcpProxy(databaseUrl);
  const toRedis = await startTcpProxy(redisUrl);
  const role = name.startsWith('worker') ? 'worker' : name;
  const env = { ...SETTINGS, ROLE: role, DATABASE_URL: toPostgres.url, REDIS_URL: toRedis.url };
  // FAULTS_MAIN: another build of the product, for instance one that was broken on purpose.
  const main = process.env['FAULTS_MAIN'] ?? (await builtMain());
  return {
    process: new RoleProcess({ name, main, port: await freePort(), folder, env }),
    toPostgres,
    toRedis,
  };
}
