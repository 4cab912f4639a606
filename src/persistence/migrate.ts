import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';
import { Database, isTemporary } from './database.js';
import { PartitionRepository } from './repositories/partition.repository.js';

/** Containers start in any order: how long Postgres may take to answer. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 500;

/**
 * Brings the database at `url` to the present schema, with partitions for the days ahead. Safe to call from any
 * number of processes at once: the first one works, the others wait for it.
 */
export async function migrate(
  url: string,
  onWaiting: (reason: string) => void = () => undefined,
): Promise<void> {
  const dataSource = await connect(url, onWaiting);
  try {
    const queryRunner = dataSource.createQueryRunner();
    await queryRunner.query(`select pg_advisory_lock(hashtextextended('posthorn:migrate', 0))`);
    try {
      await dataSource.runMigrations({ transaction: 'each' });
      await new PartitionRepository(new Database(dataSource)).createAhead(Date.now());
    } finally {
      await queryRunner.query(`select pg_advisory_unlock(hashtextextended('posthorn:migrate', 0))`);
      await queryRunner.release();
    }
  } finally {
    await dataSource.destroy();
  }
}

async function connect(url: string, onWaiting: (reason: string) => void): Promise<DataSource> {
  const giveUpAt = Date.now() + PATIENCE_MS;
  for (let tries = 1; ; tries++) {
    try {
      return await createDataSource(url).initialize();
    } catch (error) {
      if (!isTemporary(error) || Date.now() > giveUpAt) throw error;
      if (tries === 1) onWaiting((error as Error).message);
      await sleep(RETRY_MS);
    }
  }
}
