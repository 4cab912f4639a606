import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Whether the answer to a request with an Idempotency-Key was given up to keep within the limit of bytes. */
export class AddDroppedAnswers1790000000045 implements MigrationInterface {
  readonly name = 'AddDroppedAnswers1790000000045';

  async up(queryRunner: QueryRunner): Promise<void> {
    // A constant default changes the catalogue alone, and no row.
    await queryRunner.query(`
      alter table idempotent_request add column answer_dropped boolean not null default false
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table idempotent_request drop column answer_dropped');
  }
}
