import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../src/persistence/data-source.js';
import { Database } from '../src/persistence/database.js';
import { DAY_MS } from '../src/persistence/repositories/day-partition.js';
import { PartitionRepository } from '../src/persistence/repositories/partition.repository.js';
import { settle } from './seed.js';

/** Fills the tables with deliveries of all fates, types and payloads, to be searched. */

export interface SearchSeed {
  deliveries: number;
  fromMs: number;
  toMs: number;
  /** The tenant that searches, with four deliveries of five; four others share the rest. */
  tenantId: string;
}

export const SUBSCRIPTIONS = 1_000;
export const TYPES = 200;
export const SOURCES = Array.from({ length: 5 }, () => randomUUID());
/** Two, for one event. */
const FAN_OUT = 2;
const EVENTS_A_STATEMENT = 25_000;
const WRITERS = 2;

/**
 * Each event has two deliveries. 97 % are delivered (a tenth of them answered 204), 0.5 % dead, 1 % to be tried again,
 * 0.2 % cancelled, and the rest is pending, all of it in a day at the earliest. The k-th of 200 types has 1/k of the
 * events of the first, roughly; of 1,000 subscriptions the busiest has 3 %; half of the events came through one of five
 * sources. Payloads are JSON of some 400 bytes. There are no attempts: no search reads them.
 */
export async function seedForSearch(
  database: pg.Pool,
  databaseUrl: string,
  { deliveries, fromMs, toMs, tenantId }: SearchSeed,
  progress: (share: number) => void,
): Promise<void> {
  const source = await new DataSource(dataSourceOptions(databaseUrl, 2)).initialize();
  const partitions = new PartitionRepository(new Database(source));
  for (let day = fromMs; day < toMs + DAY_MS; day += DAY_MS) await partitions.createAhead(day);
  await source.destroy();

  const tenants = [tenantId, ...Array.from({ length: 4 }, () => randomUUID())];
  await database.query(
    `insert into tenant (id, name) select id, 'seeded' from unnest($1::uuid[]) as t(id) on conflict do nothing`,
    [tenants],
  );
  await database.query(
    `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
     select gen_random_uuid(), ($1::uuid[])[1 + n / $2], 'http://127.0.0.1:60009/', '{}', true, 'none', '{}', '{}'
     from generate_series(0, 5 * $2 - 1) as n`,
    [tenants, SUBSCRIPTIONS],
  );
  const events = Math.ceil(deliveries / FAN_OUT);
  const msAnEvent = (toMs - fromMs) / events;
  let next = 0;
  let written = 0;
  const writer = async (): Promise<void> => {
    const client = await database.connect();
    try {
      await client.query(`set synchronous_commit = off; set work_mem = '128MB'`);
      while (next < events) {
        const first = next;
        const count = Math.min(EVENTS_A_STATEMENT, events - first);
        next += count;
        await client.query(WRITE_EVENTS, [fromMs + first * msAnEvent, msAnEvent, count, tenants, SOURCES]);
        progress((written += count) / events);
      }
    } finally {
      await client.query('reset all').finally(() => client.release());
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  await settle(database);
}

/** A UUIDv7 of the row's millisecond. */
const NEW_ID = `(lpad(to_hex(ms), 12, '0') || '7' || substr(gen_random_uuid()::text, 16))::uuid`;

/** $1 first millisecond, $2 milliseconds an event, $3 events, $4 tenants, $5 sources. */
const WRITE_EVENTS = `
  with lane as materialized (
    select tenant_id, array_agg(id order by id) as ids from subscription group by tenant_id
  ), drawn as materialized (
    select floor($1::float8 + n * $2::float8)::bigint as ms, gen_random_uuid() as key,
           floor(power(${TYPES + 1}, random()))::int as type,
           ($4::uuid[])[case when random() < 0.8 then 1 else 2 + floor(random() * 4)::int end] as tenant_id,
           ($5::uuid[])[1 + floor(random() * 10)::int] as source_id
    from generate_series(0, $3::int - 1) as n
  ), made as materialized (
    select *, ${NEW_ID} as id, to_timestamp(ms / 1000.0) as at,
           'group' || type % 10 || '.type' || type as event_type
    from drawn
  ), events as (
    insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, source_id, delivery_count,
                       received_at)
    select id, tenant_id, id::text, event_type, key::text,
           convert_to(json_build_object('type', event_type, 'order', json_build_object(
             'id', key, 'customer', json_build_object('id', 'cus_' || floor(random() * 100000)::int),
             'amount', floor(random() * 10000)::int, 'paid', random() < 0.5), 'note', repeat('x', 200))::text, 'UTF8'),
           source_id, ${FAN_OUT}, at
    from made
  ), keys as (
    insert into idempotency_key (tenant_id, key, event_id, fingerprint)
    select tenant_id, key::text, id, '\\x00' from made
  ), fate as materialized (
    select made.id as event_id, made.tenant_id, event_type, ms, at, random() as fate, random() as other,
           lane.ids[1 + floor(power(random(), 2) * cardinality(lane.ids))::int] as subscription_id
    from made join lane on lane.tenant_id = made.tenant_id cross join generate_series(1, ${FAN_OUT})
  ), ended as materialized (
    select *, ${NEW_ID} as id,
           case when fate < 0.97 then 'delivered' when fate < 0.975 then 'dead' when fate < 0.985 then 'retrying'
                when fate < 0.987 then 'cancelled' else 'pending' end as status,
           case when other < 0.5 then 503 when other < 0.7 then 404 when other < 0.8 then 429 end as failure
    from fate
  )
  insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count, next_attempt_at,
                        last_status_code, last_error, dead_reason, dead_at, cancelled_at, completed_at, created_at)
  select id, tenant_id, event_id, subscription_id, event_type, status, 1,
         case when status in ('retrying', 'pending') then now() + interval '1 day' end,
         case when status = 'delivered' then case when other < 0.9 then 200 else 204 end
              when status in ('dead', 'retrying') then failure end,
         case when status not in ('dead', 'retrying') then null when failure is not null then 'HTTP ' || failure
              when other < 0.95 then 'timeout: no answer within 10000 ms' else 'connection_refused: nobody listens' end,
         case when status = 'dead' then 'exhausted' end, case when status = 'dead' then at end,
         case when status = 'cancelled' then at end,
         case when status in ('delivered', 'dead', 'cancelled') then at end, at
  from ended`;
