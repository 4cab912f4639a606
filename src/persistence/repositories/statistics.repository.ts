import { Inject, Injectable } from '@nestjs/common';
import { ALL_SUBSCRIPTIONS, DeliveryCounts, DeliverySums } from '../../domain/delivery-statistics.js';
import { arrayLiteral } from '../array-literal.js';
import { type Connection, Database } from '../database.js';

/** How fine the rows are that are kept. */
export type Resolution = 'minute' | 'hour';

/** Whose numbers: a subscription's, or with null those of all that a tenant has or had. */
export interface StatisticsOf {
  tenantId: string;
  subscriptionId: string | null;
}

/** What happened in one minute or hour. */
export interface StatisticsRow extends DeliveryCounts {
  at: Date;
  /** Attempts by the buckets of LatencyHistogram. */
  latency: number[];
  /** Attempts that are in no bucket yet: how many milliseconds, and how many took so long. */
  durations: [ms: number, count: number][];
  /** Dead letters at the end of it; null when that was as before. */
  dlq_size: number | null;
}

export interface SubscriptionCounts extends DeliveryCounts {
  subscription_id: string;
}

/** The most of a tenant's dead letters that are counted. */
export const MAX_DEAD_COUNTED = 100_000;

const HOUR_MS = 3_600_000;

/** What attempts, recorded by {@link LaneRepository}, add up to. */
@Injectable()
export class StatisticsRepository {
  constructor(@Inject(Database) private readonly database: Connection) {}

  /**
   * Takes the next deltas and adds them to the rows of their minute and hour, of their subscription and of their tenant:
   * in one transaction, so that nothing is lost or counted twice however it ends. Rows are written in the order of their
   * key, so that two that fold at once do not wait for each other in a circle.
   * @returns how many deltas it took; fewer than `limit` when there are no more
   */
  fold(limit: number): Promise<number> {
    return this.database.transaction(async (connection) => {
      const deltas = await connection.run<Delta>(TAKE_DELTAS, [limit]);
      if (deltas.length > 0) await addUp(connection, deltas);
      return deltas.length;
    });
  }

  /**
   * Counts everybody's dead letters, and notes where their number has changed since it was noted last, or that was a day
   * ago. Uses delivery_dead alone, from tenant to tenant, and of each no more than MAX_DEAD_COUNTED.
   * @returns how many numbers it noted
   */
  async sampleDeadLetters(): Promise<number> {
    const [row] = await this.database.run<{ count: number }>(SAMPLE_DEAD_LETTERS);
    return row?.count ?? 0;
  }

  /**
   * The time by the clock of the database, by which everything is counted, and the dead letters of now, of which no more
   * than MAX_DEAD_COUNTED of the tenant are looked at. Uses delivery_dead.
   */
  async now({ tenantId, subscriptionId }: StatisticsOf): Promise<{ at: Date; dlqSize: number }> {
    const [row] = await this.database.run<{ at: Date; size: number }>(
      `select now() as at, (
         select count(*)::int from (
           select d.subscription_id from delivery d
           where d.tenant_id = $1 and d.dead_at is not null order by d.id desc limit ${MAX_DEAD_COUNTED}
         ) dead where $2::uuid is null or dead.subscription_id = $2
       ) as size`,
      [tenantId, subscriptionId],
    );
    return { at: row?.at ?? new Date(), dlqSize: row?.size ?? 0 };
  }

  /**
   * What was counted from `from`, a whole hour, until before `to`: in no order, and several rows where a part of it is
   * not folded yet. All of it is of one moment, or a fold between two statements would be seen twice or not at all. Uses
   * delivery_stat_pkey and delivery_stat_delta_by_subscription.
   * @returns also the number of dead letters before that: null when it was never noted
   */
  async series(
    { tenantId, subscriptionId }: StatisticsOf,
    resolution: Resolution,
    from: Date,
    to: Date,
  ): Promise<{ rows: StatisticsRow[]; dlqSizeBefore: number | null }> {
    const found = await this.database.run<SeriesRow>(SERIES, [
      tenantId,
      subscriptionId,
      resolution,
      from,
      to,
      subscriptionId ?? ALL_SUBSCRIPTIONS,
    ]);
    const rows = found.filter(({ at }) => at >= from);
    const before = found.find(({ at }) => at < from);
    return {
      rows: rows.map((row) => ({ ...row, ...countsOf(row), durations: pairsOf(row.durations) })),
      dlqSizeBefore: before?.dlq_size ?? null,
    };
  }

  /** The subscriptions with the most failures in whole hours, at most `limit`; deleted ones are among them. */
  async worst(tenantId: string, from: Date, to: Date, limit: number): Promise<SubscriptionCounts[]> {
    const rows = await this.database.run<CountsAsText & { subscription_id: string }>(WORST, [
      tenantId,
      ALL_SUBSCRIPTIONS,
      from,
      to,
      limit,
    ]);
    return rows.map((row) => ({ ...row, ...countsOf(row) }));
  }
}

interface Delta extends DeliveryCounts {
  tenant_id: string;
  subscription_id: string;
  minute: Date;
  /** Numbers between commas: the driver would look at every character. */
  durations: string;
}

/** The driver gives bigint and numeric as text. */
type CountsAsText = Record<keyof DeliveryCounts, string>;

type SeriesRow = CountsAsText &
  Pick<StatisticsRow, 'at' | 'latency' | 'dlq_size'> & { durations: string | null };

const TAKE_DELTAS = {
  name: 'take-statistics',
  text: `
    delete from delivery_stat_delta d
    where d.ctid = any (array(
      select w.ctid from delivery_stat_delta w order by w.tenant_id, w.subscription_id limit $1
    ))
    returning d.tenant_id, d.subscription_id, d.minute, d.attempts, d.failures, d.retries, d.delivered, d.dead,
      array_to_string(d.durations, ',') as durations /* all tenants: each is added to its own */`,
};

/** What is left of a tenant that is gone, by a worker that came too late, is dropped. */
const ADD_SUMS = {
  name: 'add-statistics',
  text: `
    insert into delivery_stat as s (tenant_id, subscription_id, resolution, at, attempts, failures, retries, delivered,
                                    dead, latency)
    select r.tenant_id, r.subscription_id, r.resolution, r.at, r.attempts, r.failures, r.retries, r.delivered, r.dead,
           r.latency::int[]
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::bigint[], $10::text[])
      as r(tenant_id, subscription_id, resolution, at, attempts, failures, retries, delivered, dead, latency)
    where exists (select 1 from tenant t where t.id = r.tenant_id)
    order by r.tenant_id, r.resolution, r.subscription_id, r.at
    on conflict (tenant_id, resolution, subscription_id, at) do update set
      attempts = s.attempts + excluded.attempts, failures = s.failures + excluded.failures,
      retries = s.retries + excluded.retries, delivered = s.delivered + excluded.delivered,
      dead = s.dead + excluded.dead,
      latency = array(select coalesce(l.a, 0) + coalesce(l.b, 0)
                      from unnest(s.latency, excluded.latency) with ordinality as l(a, b, bucket) order by l.bucket)
    /* all tenants: each is added to its own */`,
};

const SAMPLE_DEAD_LETTERS = `
  with recursive holder as (
    (select tenant_id from delivery where dead_at is not null order by tenant_id limit 1)
    union all
    select (select d.tenant_id from delivery d where d.dead_at is not null and d.tenant_id > holder.tenant_id
            order by d.tenant_id limit 1)
    from holder where holder.tenant_id is not null
  ), counted as (
    select h.tenant_id, coalesce(d.subscription_id, '${ALL_SUBSCRIPTIONS}') as subscription_id, count(*)::int as size
    from holder h cross join lateral (
      select w.subscription_id from delivery w where w.tenant_id = h.tenant_id and w.dead_at is not null
      order by w.id desc limit ${MAX_DEAD_COUNTED}
    ) d
    where h.tenant_id is not null
    group by grouping sets ((h.tenant_id), (h.tenant_id, d.subscription_id))
  ), changed as (
    select tenant_id, subscription_id, coalesce(c.size, 0) as size
    from counted c full join dead_letter_count k using (tenant_id, subscription_id)
    where coalesce(c.size, 0) is distinct from k.size or k.noted_at < now() - interval '1 day'
  ), gone as (
    delete from dead_letter_count k using changed c
    where c.size = 0 and k.tenant_id = c.tenant_id and k.subscription_id = c.subscription_id
  ), known as (
    insert into dead_letter_count (tenant_id, subscription_id, size, noted_at)
    select tenant_id, subscription_id, size, now() from changed where size > 0
    on conflict (tenant_id, subscription_id) do update set size = excluded.size, noted_at = excluded.noted_at
  ), noted as (
    insert into delivery_stat as s (tenant_id, subscription_id, resolution, at, attempts, failures, retries, delivered,
                                    dead, latency, dlq_size)
    select c.tenant_id, c.subscription_id, r.resolution, date_trunc(r.resolution, now()), 0, 0, 0, 0, 0, '{}', c.size
    from changed c cross join (values ('minute'), ('hour')) as r(resolution)
    order by c.tenant_id, r.resolution, c.subscription_id
    on conflict (tenant_id, resolution, subscription_id, at) do update set dlq_size = excluded.dlq_size
  )
  select count(*)::int as count from changed /* all tenants: each has its own number */`;

/** Before `from`, which is a whole hour, the rows of hours know the last number of dead letters. */
const SERIES = `
  with delta as materialized (
    select date_trunc($3, d.minute) as at, d.attempts, d.failures, d.retries, d.delivered, d.dead, d.durations
    from delivery_stat_delta d
    where d.tenant_id = $1 and ($2::uuid is null or d.subscription_id = $2) and d.minute >= $4 and d.minute < $5
  ), timed as (
    select delta.at, ms, count(*) as count from delta cross join unnest(delta.durations) as ms group by delta.at, ms
  )
  select s.at, s.attempts, s.failures, s.retries, s.delivered, s.dead, s.latency, '' as durations, s.dlq_size
  from delivery_stat s
  where s.tenant_id = $1 and s.resolution = $3 and s.subscription_id = $6 and s.at >= $4 and s.at < $5
  union all
  select delta.at, sum(delta.attempts), sum(delta.failures), sum(delta.retries), sum(delta.delivered), sum(delta.dead),
         '{}', (select string_agg(timed.ms || ' ' || timed.count, ',') from timed where timed.at = delta.at), null
  from delta group by delta.at
  union all
  select * from (
    select s.at, 0, 0, 0, 0, 0, '{}'::int[], '', s.dlq_size
    from delivery_stat s
    where s.tenant_id = $1 and s.resolution = 'hour' and s.subscription_id = $6 and s.at < $4 and s.dlq_size is not null
    order by s.at desc limit 1
  ) before`;

const WORST = `
  select subscription_id, sum(attempts) as attempts, sum(failures) as failures, sum(retries) as retries,
         sum(delivered) as delivered, sum(dead) as dead
  from (
    select s.subscription_id, s.attempts, s.failures, s.retries, s.delivered, s.dead
    from delivery_stat s
    where s.tenant_id = $1 and s.resolution = 'hour' and s.subscription_id <> $2 and s.at >= $3 and s.at < $4
    union all
    select d.subscription_id, d.attempts, d.failures, d.retries, d.delivered, d.dead
    from delivery_stat_delta d
    where d.tenant_id = $1 and d.minute >= $3 and d.minute < $4
  ) counted
  group by subscription_id having sum(attempts) + sum(dead) > 0
  order by sum(failures) desc, sum(attempts) desc, subscription_id limit $5`;

interface Target extends DeliverySums {
  tenantId: string;
  subscriptionId: string;
  resolution: Resolution;
  at: Date;
}

async function addUp(connection: Connection, deltas: Delta[]): Promise<void> {
  const sums = [...sumsOf(deltas).values()];
  const list = (of: (sum: Target) => string | number) => arrayLiteral(sums.map(of));
  await connection.run(ADD_SUMS, [
    list((sum) => sum.tenantId),
    list((sum) => sum.subscriptionId),
    list((sum) => sum.resolution),
    sums.map((sum) => sum.at),
    list((sum) => sum.attempts),
    list((sum) => sum.failures),
    list((sum) => sum.retries),
    list((sum) => sum.delivered),
    list((sum) => sum.dead),
    sums.map((sum) => arrayLiteral(sum.latency.counts)),
  ]);
}

/** By the key of the row that each is to be added to. */
function sumsOf(deltas: Delta[]): Map<string, Target> {
  const sums = new Map<string, Target>();
  const sumAt = (tenantId: string, subscriptionId: string, resolution: Resolution, atMs: number): Target => {
    const key = `${tenantId} ${subscriptionId} ${resolution} ${atMs}`;
    let sum = sums.get(key);
    if (!sum) {
      sum = Object.assign(new DeliverySums(), { tenantId, subscriptionId, resolution, at: new Date(atMs) });
      sums.set(key, sum);
    }
    return sum;
  };
  for (const delta of deltas) {
    const minuteMs = delta.minute.getTime();
    const durations = numbersOf(delta.durations);
    for (const subscriptionId of [delta.subscription_id, ALL_SUBSCRIPTIONS]) {
      for (const sum of [
        sumAt(delta.tenant_id, subscriptionId, 'minute', minuteMs),
        sumAt(delta.tenant_id, subscriptionId, 'hour', minuteMs - (minuteMs % HOUR_MS)),
      ]) {
        sum.add(delta);
        for (const duration of durations) sum.latency.add(duration);
      }
    }
  }
  return sums;
}

const countsOf = ({ attempts, failures, retries, delivered, dead }: CountsAsText): DeliveryCounts => ({
  attempts: Number(attempts),
  failures: Number(failures),
  retries: Number(retries),
  delivered: Number(delivered),
  dead: Number(dead),
});

const pairsOf = (text: string | null): [number, number][] =>
  text ? text.split(',').map((pair) => pair.split(' ').map(Number) as [number, number]) : [];

const numbersOf = (text: string | null): number[] => (text ? text.split(',').map(Number) : []);
