import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';
import { Database, isTemporary } from './database.js';
import { PartitionRepository } from './repositories/partition.repository.js';
import { isLockConflict } from './repositories/partition-lock.js';

/** Containers start in any order: how long Postgres may take to answer. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 500;
/** Between two tries to lock a table, so that others get at it: twice as long each time, up to half a minute. */
const LOCK_PAUSE_MS = 1_000;
const MAX_LOCK_PAUSE_MS = 30_000;

/**
 * Brings the database at `url` to the present schema, with partitions for the days ahead. Safe to call from any
 * number of processes at once: the first one works, the others wait for it. A table that is locked, such
 * as by a backup, is waited for however long that takes, but in short tries: all other statements would wait behind a long one.
 *
 * @param onWaiting hears what is being waited for, and why
 */
export async function migrate(
  url: string,
  onWaiting: (what: string) => void = () => undefined,
): Promise<void> {
  const dataSource = await connect(url, onWaiting);
  try {
    const queryRunner = dataSource.createQueryRunner();
    // For the process that works: it may take as long as it needs.
    await queryRunner.query('set lock_timeout = 0');
    await queryRunner.query(`select pg_advisory_lock(hashtextextended('posthorn:migrate', 0))`);
    try {
      await untilLocked(onWaiting, async () => {
        await dataSource.runMigrations({ transaction: 'each' });
        await new PartitionRepository(new Database(dataSource)).createAhead(Date.now());
      });
    } finally {
      await queryRunner.query(`select pg_advisory_unlock(hashtextextended('posthorn:migrate', 0))`);
      await queryRunner.release();
    }
  } finally {
    await dataSource.destroy();
  }
}

/** Does the work again for as long as it fails for want of a lock; what it did before is committed or undone. */
async function untilLocked(onWaiting: (what: string) => void, work: () => Promise<void>): Promise<void> {
  for (let pauseMs = LOCK_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_LOCK_PAUSE_MS)) {
    try {
      await work();
      return;
    } catch (error) {
      if (!isLockConflict(error)) throw error;
      onWaiting(
        `a lock: another transaction, such as a backup, uses a table that has to change. Next try in ${pauseMs / 1000} s.`,
      );
      await sleep(pauseMs);
    }
  }
}

async function connect(url: string, onWaiting: (what: string) => void): Promise<DataSource> {
  const giveUpAt = Date.now() + PATIENCE_MS;
  for (let tries = 1; ; tries++) {
    try {
      return await createDataSource(url).initialize();
    } catch (error) {
      if (!isTemporary(error) || Date.now() > giveUpAt) throw error;
      if (tries === 1) onWaiting(`PostgreSQL: ${(error as Error).message}`);
      await sleep(RETRY_MS);
    }
  }
}
