import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Events, deliveries and attempts: large tables, partitioned by day through the time inside their UUIDv7 keys.
 *
 * A delivery's id carries the same millisecond as its event's id, and an attempt is keyed by its delivery. So
 * everything about one event lies in the same day's partitions, and the three are dropped together.
 */
export class CreateDeliveries1790000000001 implements MigrationInterface {
  readonly name = 'CreateDeliveries1790000000001';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table event (
        id uuid not null,
        tenant_id uuid not null,
        event_id text not null,
        event_type text not null,
        idempotency_key text,
        -- The exact bytes that were handed in.
        payload bytea not null,
        request_id text,
        delivery_count integer not null,
        received_at timestamptz not null,
        constraint event_pkey primary key (id)
      ) partition by range (id);
      -- GET /events of a tenant, newest first.
      create index event_by_tenant on event (tenant_id, id);

      create table delivery (
        id uuid not null,
        tenant_id uuid not null,
        event_id uuid not null,
        subscription_id uuid not null,
        event_type text not null,
        status text not null,
        -- Attempts claimed so far; also the fence that makes a late result of an older attempt count for nothing.
        attempt_count integer not null default 0,
        -- attempt_count when the present budget began: 0, or what it was at the last replay.
        budget_start integer not null default 0,
        -- Null once the delivery is terminal.
        next_attempt_at timestamptz,
        -- Deliberately in no index: a claim stays a heap-only update.
        leased_until timestamptz,
        last_status_code integer,
        last_error text,
        dead_reason text,
        dead_at timestamptz,
        completed_at timestamptz,
        created_at timestamptz not null,
        constraint delivery_pkey primary key (id)
      ) partition by range (id);
      -- The claim and the sweep: what is open in a lane, earliest first.
      create index delivery_due on delivery (subscription_id, next_attempt_at) where next_attempt_at is not null;
      -- GET /deliveries of a tenant, and of one subscription, newest first.
      create index delivery_by_tenant on delivery (tenant_id, id);
      create index delivery_by_subscription on delivery (subscription_id, id);
      -- GET /dlq of a tenant, newest first.
      create index delivery_dead on delivery (tenant_id, id) where dead_at is not null;

      create table delivery_attempt (
        delivery_id uuid not null,
        attempt_number integer not null,
        started_at timestamptz not null,
        duration_ms integer not null,
        status_code integer,
        success boolean not null,
        error text,
        response_headers json,
        response_body text,
        constraint delivery_attempt_pkey primary key (delivery_id, attempt_number)
      ) partition by range (delivery_id);

      -- A default partition each, so that ingestion never fails because a day was not prepared, and as the
      -- place of rows that outlive their day.
      create table event_default partition of event default;
      create table delivery_default partition of delivery default with (fillfactor = 85);
      create table delivery_attempt_default partition of delivery_attempt default;

      -- One event a key and tenant. Not partitioned: uniqueness must hold across days.
      create table idempotency_key (
        tenant_id uuid not null,
        key text not null,
        event_id uuid not null,
        -- SHA-256 of event type and payload: tells a repetition from a misuse of the key.
        fingerprint bytea not null,
        constraint idempotency_key_pkey primary key (tenant_id, key)
      );
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table idempotency_key, delivery_attempt, delivery, event');
  }
}
