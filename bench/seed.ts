import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../src/persistence/data-source.js';
import { Database } from '../src/persistence/database.js';
import { DAY_MS } from '../src/persistence/repositories/day-partition.js';
import { PartitionRepository } from '../src/persistence/repositories/partition.repository.js';

/** Fills the tables with a past, so that what follows is measured on grown tables. */

export interface Seed {
  /** Events, each with one delivery and at least one attempt. */
  rows: number;
  /** When the first was received and the last, in milliseconds; the others lie evenly between. */
  fromMs: number;
  toMs: number;
}

const TENANTS = 20;
const SUBSCRIPTIONS = 500;
const PAYLOAD_BYTES = 300;
const ROWS_A_STATEMENT = 50_000;
/** A core each, on the machines that this is for. */
const WRITERS = 2;

/**
 * Writes events, deliveries, attempts and idempotency keys as the service would have left them: 99.8 % delivered at
 * the first attempt, 0.1 % dead after 11, 0.1 % to be tried again within a day and not within the next hour.
 * Subscriptions are not equally busy: the busiest of the 500 has 4 % of the deliveries.
 *
 * Partitions are made by the service's own code, and indexes grow as they do there, since ids ascend.
 * At the end statistics and visibility maps are those of tables that autovacuum has been through.
 */
export async function seed(
  database: pg.Pool,
  databaseUrl: string,
  { rows, fromMs, toMs }: Seed,
  progress: (share: number) => void,
): Promise<void> {
  await createPartitions(databaseUrl, fromMs, toMs);
  const lanes = await createLanes(database);
  const msARow = (toMs - fromMs) / rows;
  let written = 0;
  let next = 0;
  const writer = async (): Promise<void> => {
    const client = await database.connect();
    try {
      await client.query(`set synchronous_commit = off; set work_mem = '128MB'`);
      while (next < rows) {
        const first = next;
        const count = Math.min(ROWS_A_STATEMENT, rows - first);
        next += count;
        await client.query(WRITE_ROWS, [
          fromMs + first * msARow,
          msARow,
          count,
          lanes.map(({ id }) => id),
          lanes.map(({ tenantId }) => tenantId),
          PAYLOAD_BYTES,
        ]);
        progress((written += count) / rows);
      }
    } finally {
      await client.query('reset all').finally(() => client.release());
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  await settle(database);
}

/** Says every tenth of the way. */
export function tellProgress(rows: number, say: (text: string) => void): (share: number) => void {
  let told = 0;
  return (share) => {
    if (share < told + 0.1 && share < 1) return;
    told = share;
    say(`  ${Math.round(share * 100)} % of ${rows} events written`);
  };
}

/** So that no vacuum, no hint bits and no checkpoint of the past are paid for by what is measured next. */
export async function settle(database: pg.Pool): Promise<void> {
  const { rows } = await database.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class
     where relkind = 'r' and relnamespace = current_schema::regnamespace`,
  );
  const names = rows.map(({ name }) => name);
  const vacuumer = async (): Promise<void> => {
    for (let name = names.pop(); name !== undefined; name = names.pop())
      await database.query(`vacuum (analyze) ${name}`);
  };
  await Promise.all(Array.from({ length: WRITERS }, vacuumer));
  await database.query('analyze event, delivery, delivery_attempt');
  await database.query('checkpoint');
}

async function createPartitions(databaseUrl: string, fromMs: number, toMs: number): Promise<void> {
  const source = await new DataSource(dataSourceOptions(databaseUrl, 2)).initialize();
  try {
    const partitions = new PartitionRepository(new Database(source));
    for (let day = fromMs; day < toMs + DAY_MS; day += DAY_MS) await partitions.createAhead(day);
  } finally {
    await source.destroy();
  }
}

/** Tenants with subscriptions to an address where nobody listens: none of theirs is due while it is measured. */
async function createLanes(database: pg.Pool): Promise<{ id: string; tenantId: string }[]> {
  const tenants = Array.from({ length: TENANTS }, () => randomUUID());
  await database.query(`insert into tenant (id, name) select id, 'seeded' from unnest($1::uuid[]) as t(id)`, [
    tenants,
  ]);
  const lanes = Array.from({ length: SUBSCRIPTIONS }, (_, number) => ({
    id: randomUUID(),
    tenantId: tenants[number % TENANTS]!,
  }));
  await database.query(
    `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
     select id, tenant_id, 'http://127.0.0.1:60009/', '{order.paid}', true, 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '{}', '{}'
     from unnest($1::uuid[], $2::uuid[]) as t(id, tenant_id)`,
    [lanes.map(({ id }) => id), lanes.map(({ tenantId }) => tenantId)],
  );
  return lanes;
}

/** A UUIDv7 of the row's millisecond: PostgreSQL has a function for it only since version 18. */
const NEW_ID = `(lpad(to_hex(ms), 12, '0') || '7' || substr(gen_random_uuid()::text, 16))::uuid`;

/** $1 first millisecond, $2 milliseconds a row, $3 rows, $4 subscriptions, $5 their tenants, $6 bytes of payload. */
const WRITE_ROWS = `
  with drawn as materialized (
    select n, floor($1::float8 + n * $2::float8)::bigint as ms, random() as fate,
           1 + floor(power(random(), 2) * cardinality($4::uuid[]))::int as lane
    from generate_series(0, $3::int - 1) as n
  ), source as materialized (
    select ms, to_timestamp(ms / 1000.0) as at, ${NEW_ID} as event_id, ${NEW_ID} as delivery_id,
           gen_random_uuid()::text as key, ($4::uuid[])[lane] as subscription_id, ($5::uuid[])[lane] as tenant_id,
           case when fate < 0.001 then 'dead' when fate < 0.002 then 'retrying' else 'delivered' end as status,
           case when fate < 0.001 then 11 when fate < 0.002 then 3 else 1 end as attempts,
           fate
    from drawn
  ), events as (
    insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, request_id, delivery_count,
                       received_at)
    select event_id, tenant_id, event_id::text, 'order.paid', key,
           convert_to('{"order":"' || key || '","note":"' || repeat('x', $6::int - 57) || '"}', 'UTF8'),
           gen_random_uuid()::text, 1, at
    from source
  ), deliveries as (
    insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count,
                          next_attempt_at, last_status_code, last_error, dead_reason, dead_at, completed_at, created_at)
    select delivery_id, tenant_id, event_id, subscription_id, 'order.paid', status, attempts,
           case when status = 'retrying' then now() + interval '1 hour' + (fate - 0.001) * interval '23000 hours' end,
           case when status = 'delivered' then 200 else 503 end,
           case when status <> 'delivered' then 'The subscriber answered 503.' end,
           case when status = 'dead' then 'exhausted' end,
           case when status = 'dead' then least(at + interval '1 day', now()) end,
           case status when 'delivered' then at + interval '5 milliseconds'
                       when 'dead' then least(at + interval '1 day', now()) end,
           at
    from source
  ), attempted as (
    insert into delivery_attempt (delivery_id, attempt_number, started_at, duration_ms, status_code, success, error,
                                  response_headers, response_body)
    select delivery_id, number, at + number * interval '3 milliseconds', 2,
           case when status = 'delivered' then 200 else 503 end, status = 'delivered',
           case when status <> 'delivered' then 'The subscriber answered 503.' end,
           '{"content-type":"application/json","content-length":"2","date":"Thu, 01 Jan 2026 00:00:00 GMT"}', 'ok'
    from source cross join lateral generate_series(1, attempts) as number
  )
  insert into idempotency_key (tenant_id, key, event_id, fingerprint)
  select tenant_id, key, event_id, sha256(key::bytea) from source`;
