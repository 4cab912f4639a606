import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tenants, their keys and subscriptions: small tables, read through in-process caches. */
export class CreateTenants1790000000000 implements MigrationInterface {
  readonly name = 'CreateTenants1790000000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table tenant (
        id uuid constraint tenant_pkey primary key,
        name text not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      );

      create table api_key (
        id uuid constraint api_key_pkey primary key,
        tenant_id uuid not null constraint api_key_tenant_fkey references tenant on delete cascade,
        name text not null,
        -- SHA-256 of the key: keys are 256 random bits, so a slow hash would add nothing.
        key_hash bytea not null constraint api_key_hash_key unique,
        prefix text not null,
        last_four text not null,
        created_at timestamptz not null default now()
      );
      create index api_key_by_tenant on api_key (tenant_id, id);

      create table subscription (
        id uuid constraint subscription_pkey primary key,
        tenant_id uuid not null constraint subscription_tenant_fkey references tenant on delete cascade,
        target_url text not null,
        event_types text[] not null,
        is_active boolean not null,
        disabled_reason text,
        secret text not null,
        previous_secret text,
        previous_secret_expires_at timestamptz,
        headers jsonb not null,
        retry_policy jsonb,
        timeout_ms integer,
        rate_limit jsonb,
        max_concurrency integer,
        description text,
        metadata jsonb not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
      );
      -- Lists of a tenant, newest first, and the load of the subscription cache.
      create index subscription_by_tenant on subscription (tenant_id, id);

      -- What a rate-limited lane must remember across workers: when its next slot is free.
      create table lane (
        subscription_id uuid constraint lane_pkey primary key
          constraint lane_subscription_fkey references subscription on delete cascade,
        next_slot_at timestamptz not null
      );

      create table heartbeat (
        process_id uuid constraint heartbeat_pkey primary key,
        role text not null,
        host text not null,
        seen_at timestamptz not null
      );

      -- Every process hears of every change, whoever made it, and drops what it had cached of that tenant.
      create function announce_change() returns trigger language plpgsql as $$
      declare
        changed record := case when tg_op = 'DELETE' then old else new end;
      begin
        perform pg_notify('posthorn_changes',
          tg_table_name || ':' || (case when tg_table_name = 'tenant' then to_jsonb(changed) ->> 'id'
                                        else to_jsonb(changed) ->> 'tenant_id' end));
        return null;
      end $$;
      create trigger announce_change after insert or update or delete on subscription
        for each row execute function announce_change();
      create trigger announce_change after update or delete on api_key
        for each row execute function announce_change();
      create trigger announce_change after update or delete on tenant
        for each row execute function announce_change();
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      drop table heartbeat, lane, subscription, api_key, tenant;
      drop function announce_change();
    `);
  }
}
