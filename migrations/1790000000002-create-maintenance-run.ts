import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When each periodic task began last, so that any number of schedulers run it once an interval, restarts included. */
export class CreateMaintenanceRun1790000000002 implements MigrationInterface {
  readonly name = 'CreateMaintenanceRun1790000000002';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table maintenance_run (
        task text constraint maintenance_run_pkey primary key,
        started_at timestamptz not null
      )`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table maintenance_run');
  }
}
