import { createDataSource } from './data-source.js';
import { Database } from './database.js';
import { PartitionRepository } from './repositories/partition.repository.js';

/**
 * Brings the database at `url` to the present schema, with partitions for the days ahead. Safe to call from any
 * number of processes at once: the first one works, the others wait for it.
 */
export async function migrate(url: string): Promise<void> {
  const dataSource = await createDataSource(url).initialize();
  try {
    const queryRunner = dataSource.createQueryRunner();
    await queryRunner.query('set lock_timeout = 0; set statement_timeout = 0');
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
