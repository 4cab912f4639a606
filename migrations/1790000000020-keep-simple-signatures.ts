import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Sources of the provider posthorn sign the time as well from now on. Those that are there sign the body alone, and go
 * on until their tenant says otherwise. Processes from before this migration do not look at the setting.
 */
export class KeepSimpleSignatures1790000000020 implements MigrationInterface {
  readonly name = 'KeepSimpleSignatures1790000000020';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      update source set settings = settings || '{"signed": "body"}' where provider = 'posthorn' and not settings ? 'signed'
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`update source set settings = '{}' where provider = 'posthorn'`);
  }
}
