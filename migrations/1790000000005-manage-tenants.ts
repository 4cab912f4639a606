import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What an operator decides about a tenant, and what a key may do and for how long. */
export class ManageTenants1790000000005 implements MigrationInterface {
  readonly name = 'ManageTenants1790000000005';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      alter table tenant
        add column suspended boolean not null default false,
        -- Null in any of these: what the service is configured with.
        add column rate_per_second float8,
        add column rate_burst integer,
        add column retention_hours float8,
        -- CIDRs; empty: its keys may be used from everywhere.
        add column allowed_ips text[] not null default '{}',
        -- From then on it can do nothing, and all that it owns is being deleted.
        add column deletion_requested_at timestamptz;
      create index tenant_to_remove on tenant (deletion_requested_at, id) where deletion_requested_at is not null;

      alter table api_key
        -- The keys from before could do everything, and go on doing so.
        add column scopes text[] not null default '{admin}',
        add column expires_at timestamptz,
        add column last_used_at timestamptz,
        -- The key that a rotation made in its place.
        add column replaced_by uuid;
      alter table api_key alter column scopes drop default;

      -- That a key was used is nobody's news.
      drop trigger announce_change on api_key;
      create trigger announce_change after delete or update of name, scopes, expires_at on api_key
        for each row execute function announce_change();
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      drop trigger announce_change on api_key;
      create trigger announce_change after update or delete on api_key
        for each row execute function announce_change();
      alter table api_key drop column scopes, drop column expires_at, drop column last_used_at,
        drop column replaced_by;
      drop index tenant_to_remove;
      alter table tenant
        drop column suspended, drop column rate_per_second, drop column rate_burst, drop column retention_hours,
        drop column allowed_ips, drop column deletion_requested_at;
    `);
  }
}
