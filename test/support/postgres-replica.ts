import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.js';
import { migrate } from '../../src/persistence/migrate.js';
import { execute, withDatabase } from './database.js';

export interface ReplicatedPostgres {
  /** Of a database with the schema of today, on the primary and on the replica. */
  primaryUrl: string;
  replicaUrl: string;
  /** Ends the replica; it can be started again, on another port or on the same. */
  stopReplica(): Promise<void>;
  startReplica(): Promise<void>;
  /** The replica goes on receiving, and shows nothing new until it is resumed. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  stop(): Promise<void>;
}

const DATABASE = 'posthorn';

/**
 * A primary of its own and a streaming replica of it. The replica begins as a copy of the primary's files while that is
 * down, which needs no pg_basebackup.
 */
export async function startReplicatedPostgres(): Promise<ReplicatedPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'posthorn-replica-'));
  const homes = { primary: join(folder, 'primary'), replica: join(folder, 'replica') };
  await chmod(folder, 0o711); // as root, PostgreSQL runs as another user
  for (const home of Object.values(homes)) await mkdir(home, { mode: 0o711 });
  let replica: EmbeddedPostgres | undefined;
  let primary = await start(homes.primary);
  const removeAll = () => rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  try {
    await execute(primary.url, `create database ${DATABASE}`);
    await migrate(withDatabase(primary.url, DATABASE));
    const port = Number(new URL(primary.url).port);
    await primary.stop();
    await copyAsReplica(homes.primary, homes.replica, primary.url);
    primary = await start(homes.primary, port);
    replica = await start(homes.replica);
  } catch (error) {
    await replica?.stop();
    await primary.stop();
    await removeAll();
    throw error;
  }
  const replicaUrl = withDatabase(replica.url, DATABASE);
  const replicaPort = Number(new URL(replica.url).port);
  const stopReplica = async (): Promise<void> => {
    await replica?.stop();
    replica = undefined;
  };
  return {
    primaryUrl: withDatabase(primary.url, DATABASE),
    replicaUrl,
    stopReplica,
    startReplica: async () => {
      replica = await start(homes.replica, replicaPort);
    },
    pauseReplay: () => execute(replicaUrl, 'select pg_wal_replay_pause()'),
    resumeReplay: () => execute(replicaUrl, 'select pg_wal_replay_resume()'),
    stop: async () => {
      await stopReplica();
      await primary.stop();
      await removeAll();
    },
  };
}

function start(dataDir: string, port?: number): Promise<EmbeddedPostgres> {
  const options = { dataDir, durable: false, log: () => undefined };
  return startEmbeddedPostgres(port === undefined ? options : { ...options, port });
}

/** Files keep their owner and mode, as PostgreSQL insists. */
async function copyAsReplica(from: string, to: string, primaryUrl: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', join(from, 'postgres'), to]);
  const { port, username, password } = new URL(primaryUrl);
  const source = `host=127.0.0.1 port=${port} user=${username} password=${password}`;
  await write(join(to, 'postgres/standby.signal'), '');
  await write(join(to, 'postgres/postgresql.auto.conf'), `primary_conninfo = '${source}'\n`);
}

async function write(path: string, content: string): Promise<void> {
  await writeFile(path, content, { mode: 0o600 });
  const { uid, gid } = await stat(join(path, '..'));
  await chown(path, uid, gid);
}
