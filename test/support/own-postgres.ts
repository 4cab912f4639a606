import { rmSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.js';

export interface OwnPostgres {
  /** Of a superuser. */
  url: string;
  /** Stops the server and removes its files. */
  stop(): Promise<void>;
}

/** A PostgreSQL server that nothing else uses, without fsync. It does not outlive this process. */
export async function startOwnPostgres(): Promise<OwnPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), 'posthorn-test-'));
  await chmod(dataDir, 0o711); // as root, PostgreSQL runs as another user
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false, log: () => undefined });
  const remove = (): void =>
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  const abort = (): void => {
    process.kill(postgres.pid, 'SIGQUIT'); // immediate shutdown
    remove();
  };
  process.once('exit', abort);
  return {
    url: postgres.url,
    stop: async () => {
      process.removeListener('exit', abort);
      await postgres.stop();
      remove();
    },
  };
}
