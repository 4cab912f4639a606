import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Requests that were sent with an Idempotency-Key, so that a repetition is answered like the first one. */
export class CreateIdempotentRequests1790000000036 implements MigrationInterface {
  readonly name = 'CreateIdempotentRequests1790000000036';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table idempotent_request (
        id uuid constraint idempotent_request_pkey primary key,
        -- The nil UUID: a request of the operator.
        tenant_id uuid not null,
        key text not null,
        -- SHA-256 of what must be equal for a repetition to be one: actor, method, path and body.
        fingerprint bytea not null,
        -- Encrypted: what ids and secrets that the request makes up come from, in every attempt.
        seed text not null,
        -- Encrypted; null until the request was answered with success.
        answer text,
        attempt integer not null default 1,
        -- Until then an attempt may be under way.
        leased_until timestamptz not null,
        created_at timestamptz not null,
        constraint idempotent_request_tenant_key unique (tenant_id, key)
      );
      -- The purge.
      create index idempotent_request_by_age on idempotent_request (created_at);
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table idempotent_request');
  }
}
