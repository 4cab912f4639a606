import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What dashboards show, counted as attempts are recorded. */
export class CreateDeliveryStatistics1790000000009 implements MigrationInterface {
  readonly name = 'CreateDeliveryStatistics1790000000009';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      -- What one batch of results adds, written in its own commit and by many at once, until it is folded into
      -- delivery_stat. Rows only come and go, so vacuum has to come often.
      create table delivery_stat_delta (
        tenant_id uuid not null,
        subscription_id uuid not null,
        minute timestamptz not null,
        attempts integer not null default 0,
        failures integer not null default 0,
        retries integer not null default 0,
        delivered integer not null default 0,
        dead integer not null default 0,
        -- Milliseconds, one for each attempt that was answered or timed out.
        durations integer[] not null default '{}'
      ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
              autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
      -- GET /stats: what is not folded yet. The fold goes along it as well.
      create index delivery_stat_delta_by_subscription on delivery_stat_delta (tenant_id, subscription_id);

      create table delivery_stat (
        tenant_id uuid not null,
        -- The zero id: all of the tenant's together.
        subscription_id uuid not null,
        resolution text not null,
        at timestamptz not null,
        attempts bigint not null,
        failures bigint not null,
        retries bigint not null,
        delivered bigint not null,
        dead bigint not null,
        -- How many attempts took how long, by the buckets of src/domain/latency-buckets.ts up to the last one in use.
        latency integer[] not null,
        -- Dead letters at the end of that time, where their number changed or was a day old.
        dlq_size integer,
        constraint delivery_stat_pkey primary key (tenant_id, resolution, subscription_id, at)
        -- The rows of this minute and this hour are written every few seconds.
      ) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
      -- Old rows are purged by age. By an expression: a planner that knows nothing of the table yet would take the index
      -- for the rows of one tenant as well.
      create index delivery_stat_by_age on delivery_stat ((resolution || ''), at);

      -- How many dead letters each had when they were last counted, of those who had any.
      create table dead_letter_count (
        tenant_id uuid not null,
        -- The zero id: all of the tenant's together.
        subscription_id uuid not null,
        size integer not null,
        noted_at timestamptz not null,
        constraint dead_letter_count_pkey primary key (tenant_id, subscription_id)
      );
      -- They are counted from the index alone.
      drop index delivery_dead;
      create index delivery_dead on delivery (tenant_id, id) include (subscription_id) where dead_at is not null;

      -- The result came after the attempt had been given up for interrupted, and took the place of that entry.
      alter table delivery_attempt add column late boolean;
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      drop table delivery_stat, delivery_stat_delta, dead_letter_count;
      drop index delivery_dead;
      create index delivery_dead on delivery (tenant_id, id) where dead_at is not null;
      alter table delivery_attempt drop column late;
    `);
  }
}
