import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How often an event was delivered by a service like this one before it came in; null for never. */
export class AddEventHops1790000000025 implements MigrationInterface {
  readonly name = 'AddEventHops1790000000025';

  async up(queryRunner: QueryRunner): Promise<void> {
    // Without a default, so that no row is written.
    await queryRunner.query('alter table event add column hops smallint');
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table event drop column hops');
  }
}
