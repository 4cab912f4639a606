import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Doors for others' webhooks, and what an event keeps of how it came in. */
export class CreateSources1790000000007 implements MigrationInterface {
  readonly name = 'CreateSources1790000000007';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table source (
        id uuid constraint source_pkey primary key,
        tenant_id uuid not null constraint source_tenant_fkey references tenant on delete cascade,
        name text not null,
        provider text not null,
        -- What the provider leaves to be said, as the names of its headers.
        settings jsonb not null,
        -- Encrypted, as those of subscriptions.
        secret text not null,
        previous_secret text,
        previous_secret_expires_at timestamptz,
        is_active boolean not null,
        -- CIDRs; empty: from everywhere.
        allowed_ips text[] not null,
        description text,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      );
      -- A tenant's sources, newest first.
      create index source_by_tenant on source (tenant_id, id);
      -- POST /webhooks/ingest names the tenant and no source.
      create unique index source_ingest_key on source (tenant_id) where provider = 'posthorn';
      create trigger announce_change after insert or update or delete on source
        for each row execute function announce_change();

      alter table event
        -- Null: application/json.
        add column content_type text,
        -- Null: handed in with an API key. It may be gone, so there is no foreign key.
        add column source_id uuid;
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      alter table event drop column source_id, drop column content_type;
      drop table source;
    `);
  }
}
