import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The secrets before the previous one, while they are still valid: a second rotation must not end the one that a
 * subscriber still verifies with. Processes from before this migration leave the column as it is.
 */
export class KeepOlderSecrets1790000000035 implements MigrationInterface {
  readonly name = 'KeepOlderSecrets1790000000035';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      -- [{"secret": encrypted, "expires_at": time}], the newest last.
      alter table subscription add column older_secrets jsonb not null default '[]';
      alter table source add column older_secrets jsonb not null default '[]';
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      alter table subscription drop column older_secrets;
      alter table source drop column older_secrets;
    `);
  }
}
