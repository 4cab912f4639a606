import type { Rows } from './rows.js';

const TENANTS = 5;
const SUBSCRIPTIONS = 500;
const ROWS_A_DAY = 20_000;
const DAY_MS = 86_400_000;

/** Days of traffic as the service would have left them, and hands that pick what a test wants of it. */
export class History {
  /** Of the tenant that the picks are from. */
  readonly tenantId: string;
  /** Half of what is due is in this lane of that tenant. */
  readonly busiest: string;
  /** Another tenant, who has one event in 400. */
  readonly quietTenantId: string;

  private constructor(
    private readonly rows: Rows,
    busiest: { id: string; tenant_id: string },
    private readonly quiet: { id: string; tenant_id: string },
  ) {
    this.tenantId = busiest.tenant_id;
    this.busiest = busiest.id;
    this.quietTenantId = quiet.tenant_id;
  }

  /** Tenants with a key each, their subscriptions and sources; no events yet. */
  static async begin(rows: Rows): Promise<History> {
    await rows.query(
      `insert into tenant (id, name) select gen_random_uuid(), 'tenant ' || n from generate_series(1, $1::int) as n`,
      [TENANTS],
    );
    await rows.query(
      `insert into api_key (id, tenant_id, name, key_hash, prefix, last_four, scopes)
       select gen_random_uuid(), id, 'a key', sha256(id::text::bytea), 'pk', 'abcd', '{admin}' from tenant`,
    );
    await rows.query(
      `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
       select gen_random_uuid(), (array(select id from tenant))[1 + n % $1::int], 'http://127.0.0.1:60009/', '{}', true,
              'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '{}', '{}'
       from generate_series(1, $2::int) as n`,
      [TENANTS, SUBSCRIPTIONS],
    );
    // The one for POST /webhooks/ingest has the id of its tenant.
    await rows.query(
      `insert into source (id, tenant_id, name, provider, settings, secret, is_active, allowed_ips)
       select case n when 1 then id else gen_random_uuid() end, id, 'a source',
              case n when 1 then 'posthorn' else 'github' end, '{}', 'a secret', true, '{}'
       from tenant, generate_series(1, 100) n`,
    );
    const subscriptions = await rows.query<{ id: string; tenant_id: string }>(
      'select id, tenant_id from subscription order by id limit 1',
    );
    const tenantId = await rows.tenant();
    return new History(rows, subscriptions[0]!, {
      id: await rows.subscription(tenantId),
      tenant_id: tenantId,
    });
  }

  /**
   * A day of events with a delivery each: 95 % delivered, 0.5 % dead after two attempts, 1 % to be tried again in an
   * hour, and due now 1 % all over the lanes and 2.5 % in the busiest one.
   */
  async addDay(dayMs: number): Promise<void> {
    await this.rows.query(WRITE_DAY, [dayMs, DAY_MS / ROWS_A_DAY, ROWS_A_DAY, this.busiest, this.quiet.id]);
  }

  /** Gives back whatever is leased. */
  async release(): Promise<void> {
    await this.rows.query(
      `update delivery set leased_until = null, status = 'pending', attempt_count = 0
       where next_attempt_at is not null and leased_until is not null`,
    );
  }

  /** Lanes of any tenant that have something due, the busiest one not among them. */
  async dueLanes(count: number): Promise<string[]> {
    const found = await this.rows.query<{ id: string }>(
      `select distinct subscription_id as id from delivery
       where next_attempt_at <= now() and subscription_id <> $1 limit $2`,
      [this.busiest, count],
    );
    return found.map(({ id }) => id);
  }

  /** A lane that has 50 deliveries to be tried again later: the busiest one, 50 of whose due ones are put off. */
  async waitingLane(): Promise<string> {
    await this.rows.query(
      `update delivery set next_attempt_at = now() + interval '1 hour'
       where id in (select id from delivery where subscription_id = $1 and next_attempt_at <= now() limit 50)`,
      [this.busiest],
    );
    return this.busiest;
  }

  /** Makes one more subscription inactive that has something due. */
  async switchOffDueLane(): Promise<void> {
    const dueLanes = await this.dueLanes(SUBSCRIPTIONS);
    await this.rows.query(
      `update subscription set is_active = false
       where id = (select id from subscription where id = any ($1) and is_active limit 1)`,
      [dueLanes],
    );
  }

  async delivery(status: string): Promise<{ id: string; event_id: string; subscription_id: string }> {
    const [found] = await this.rows.query<{ id: string; event_id: string; subscription_id: string }>(
      `with candidate as (
         select id, event_id, subscription_id from delivery where tenant_id = $1 and status = $2 limit 20
       )
       select * from candidate offset floor(random() * (select count(*) from candidate)) limit 1`,
      [this.tenantId, status],
    );
    return found!;
  }

  async keys(count: number): Promise<{ tenantId: string; key: string }[]> {
    const found = await this.rows.query<{ tenant_id: string; key: string }>(
      'select tenant_id, key from idempotency_key offset floor(random() * 10000) limit $1',
      [count],
    );
    return found.map(({ tenant_id, key }) => ({ tenantId: tenant_id, key }));
  }
}

/** A UUIDv7 of the row's millisecond. */
const NEW_ID = `(lpad(to_hex(ms), 12, '0') || '7' || substr(gen_random_uuid()::text, 16))::uuid`;

/** $1 the day's first millisecond, $2 milliseconds a row, $3 rows, $4 the busiest lane, $5 the quiet one: the last. */
const WRITE_DAY = `
  with lane as materialized (
    select id, tenant_id, row_number() over (order by id = $5::uuid, id) as number, count(*) over () as lanes
    from subscription
  ), drawn as materialized (
    select n, floor($1::float8 + n * $2::float8)::bigint as ms from generate_series(0, $3::int - 1) as n
  ), source as materialized (
    select to_timestamp(ms / 1000.0) as at, ${NEW_ID} as event_id, ${NEW_ID} as delivery_id,
           lane.id as subscription_id, lane.tenant_id, 'type.' || n % 20 as event_type,
           case when n % 40 = 0 or n % 100 = 50 then 'pending' when n % 100 = 25 then 'retrying'
                when n % 200 = 1 then 'dead' else 'delivered' end as status,
           case when n % 40 = 0 or n % 100 = 50 then 0 when n % 200 = 1 then 2 else 1 end as attempts
    from drawn join lane on case when n % 40 = 0 then lane.id = $4::uuid when n % 400 = 7 then lane.id = $5::uuid
                                 else lane.number = 1 + n / 7 % (lane.lanes - 1) end
  ), events as (
    insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, delivery_count, received_at)
    select event_id, tenant_id, event_id::text, event_type, event_id::text, convert_to(repeat('x', 300), 'UTF8'), 1, at
    from source
  ), keys as (
    insert into idempotency_key (tenant_id, key, event_id, fingerprint)
    select tenant_id, event_id::text, event_id, '\\x00' from source
  ), attempted as (
    insert into delivery_attempt (delivery_id, attempt_number, started_at, duration_ms, status_code, success)
    select delivery_id, number, at, 2, 200, true from source cross join lateral generate_series(1, attempts) as number
  )
  insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count,
                        next_attempt_at, dead_reason, dead_at, completed_at, created_at)
  select delivery_id, tenant_id, event_id, subscription_id, event_type, status, attempts,
         case status when 'pending' then at when 'retrying' then now() + interval '1 hour' end,
         case when status = 'dead' then 'exhausted' end, case when status = 'dead' then at end,
         case when status in ('delivered', 'dead') then at end, at
  from source`;
