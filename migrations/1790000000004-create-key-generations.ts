import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Idempotency keys in two generations, so that they are forgotten by emptying a table and not row by row: the present
 * one takes new keys, the old one is only looked at. The names change places once a retention time.
 */
export class CreateKeyGenerations1790000000004 implements MigrationInterface {
  readonly name = 'CreateKeyGenerations1790000000004';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table idempotency_key_old (
        tenant_id uuid not null,
        key text not null,
        event_id uuid not null,
        fingerprint bytea not null,
        constraint idempotency_key_old_pkey primary key (tenant_id, key)
      );
      -- When the present generation began: nobody knows, so the first purge makes it the old one.
      insert into maintenance_run (task, started_at) values ('key-generation', to_timestamp(0));
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      insert into idempotency_key select * from idempotency_key_old on conflict do nothing;
      drop table idempotency_key_old;
      delete from maintenance_run where task = 'key-generation';
    `);
  }
}
