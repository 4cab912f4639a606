import { Injectable } from '@nestjs/common';
import type { AttemptResult } from '../../domain/attempt.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import type { LaneLimits } from '../../domain/subscription.js';
import { ColumnList } from '../column-list.js';
import { Connection, Database } from '../database.js';

export interface PacedClaim {
  deliveries: ClaimedDelivery[];
  /** When the rate limit lets it ask again, from now; null when it was not the rate limit that ended the claim. */
  nextInMs: number | null;
}

/** The most that one claim takes of a lane. */
export const MAX_QUOTA = 1_000;

/** Slots of a rate-limited lane that may be taken before their time. */
const SLOT_HORIZON_MS = 1_000;

/** Larger payloads do not come with the claim, which may be of thousands of deliveries. */
const MAX_BYTES_WITH_CLAIM = 16 * 1024;

/** What a claim sets and returns, for the deliveries that `due` has locked. Parameter $1 is the lease in seconds. */
const TAKE_DUE = `
    update delivery d
    set status = 'delivering', attempt_count = d.attempt_count + 1,
        leased_until = now() + make_interval(secs => $1)
    from due join event e on e.id = due.event_id
    where d.id = due.id
    returning d.id, d.tenant_id as "tenantId", d.event_id as "eventId", d.subscription_id as "subscriptionId",
      d.event_type as "eventType", d.attempt_count as "attemptNumber",
      d.attempt_count - d.budget_start as "budgetAttempt", due.interrupted as "isInterrupted",
      (extract(epoch from now() - d.next_attempt_at) * 1000)::float8 as "lagMs", e.request_id as "requestId", e.hops,
      e.content_type as "contentType", octet_length(e.payload) as "payloadBytes",
      case when octet_length(e.payload) <= ${MAX_BYTES_WITH_CLAIM} then e.payload end as payload`;

/**
 * Claims for several lanes at once, each up to its quota, earliest due first. Uses delivery_due.
 *
 * Locked and leased rows are skipped, so any number of workers may claim in one lane. The claim changes no indexed
 * column, which keeps it a heap-only update. The arrays stand in subqueries so that the planner cannot see their
 * length: else it would plan each call anew for it (1.1 ms instead of 0.26 ms a claim). The constant limit is for the
 * planner as well: of a limit that it does not know it expects a tenth of the lane, and where a million are due it reads
 * whole tables for them (300,000 due: 270 ms instead of 5 ms). Rows beyond the quota are not reached, nor locked.
 */
const CLAIM_DUE = {
  name: 'claim-due',
  text: `
    with due as (
      select d.* from unnest((select $2::uuid[]), (select $3::int[])) as lane(subscription_id, quota)
      cross join lateral (
        select * from (
          select id, event_id, leased_until is not null as interrupted from delivery
          where subscription_id = lane.subscription_id and next_attempt_at <= now()
            and (leased_until is null or leased_until <= now())
          order by next_attempt_at limit ${MAX_QUOTA}
          for update skip locked
        ) first limit lane.quota
      ) d
    ) ${TAKE_DUE} /* all tenants: whose lanes are due */`,
};

const RESULT_COLUMNS = new ColumnList<AttemptResult>([
  { name: 'delivery_id', type: 'uuid', value: (result) => result.deliveryId, isPlain: true },
  { name: 'attempt_number', type: 'int', value: (result) => result.attemptNumber, isPlain: true },
  { name: 'started_at', type: 'timestamptz', value: (result) => result.startedAt },
  { name: 'duration_ms', type: 'int', value: (result) => result.durationMs, isPlain: true },
  { name: 'status_code', type: 'int', value: (result) => result.statusCode, isPlain: true },
  { name: 'success', type: 'bool', value: (result) => result.success, isPlain: true },
  { name: 'error', type: 'text', value: (result) => result.error },
  { name: 'response_headers', type: 'json', value: (result) => result.responseHeaders },
  { name: 'response_body', type: 'text', value: (result) => result.responseBody },
  { name: 'status', type: 'text', value: (result) => result.status, isPlain: true },
  { name: 'retry_in_ms', type: 'float8', value: (result) => result.retryInMs, isPlain: true },
  { name: 'dead_reason', type: 'text', value: (result) => result.deadReason, isPlain: true },
  { name: 'tenant_id', type: 'uuid', value: (result) => result.tenantId, isPlain: true },
  { name: 'subscription_id', type: 'uuid', value: (result) => result.subscriptionId, isPlain: true },
]);

/**
 * Attempts, the new statuses, and what both add to the statistics. A result whose fence is old changes no status: its
 * attempt is only kept as history, in the place of the entry that says that it was interrupted, if there is one: nothing
 * else takes no time and has no status code.
 *
 * The statistics have to tell a new attempt from one that came late. `xmax`, which is said to tell, cannot be had from a
 * partitioned table, and `returning old` is PostgreSQL 18's; hence `late`. Full joins are never done as nested loops,
 * which the planner, who expects ten rows, would prefer. docs/decisions/0026-statistics.md has the alternatives.
 */
const RECORD_RESULTS = {
  name: 'record-results',
  text: `
    with result as (
      select * from ${RESULT_COLUMNS.unnest('r')}
    ), attempt as (
      insert into delivery_attempt as w (delivery_id, attempt_number, started_at, duration_ms, status_code, success, error,
                                         response_headers, response_body)
      select delivery_id, attempt_number, started_at, duration_ms, status_code, success, error,
             response_headers, response_body
      from result where started_at is not null
      on conflict (delivery_id, attempt_number) do update set
        started_at = excluded.started_at, duration_ms = excluded.duration_ms, status_code = excluded.status_code,
        success = excluded.success, error = excluded.error, response_headers = excluded.response_headers,
        response_body = excluded.response_body, late = true
      where w.status_code is null and w.duration_ms = 0
        and (excluded.status_code is not null or excluded.duration_ms > 0)
      returning delivery_id, attempt_number, duration_ms, success, late is null as is_new,
        status_code is not null or error like 'timeout:%' as was_timed
    ), changed as (
      update delivery d
      set status = r.status, leased_until = null,
          attempt_count = d.attempt_count - (r.started_at is null)::int,
          next_attempt_at = now() + make_interval(secs => r.retry_in_ms / 1000),
          last_status_code = r.status_code, last_error = case when not r.success then r.error end,
          completed_at = case when r.retry_in_ms is null then now() end,
          dead_reason = r.dead_reason, dead_at = case when r.dead_reason is not null then now() end
      from result r
      where d.id = r.delivery_id and d.attempt_count = r.attempt_number and d.status = 'delivering'
      returning d.id, r.attempt_number, d.status
    ), counted as (
      insert into delivery_stat_delta (tenant_id, subscription_id, minute, attempts, failures, retries, delivered, dead,
                                       durations)
      select r.tenant_id, r.subscription_id, date_trunc('minute', now()),
        count(*) filter (where a.is_new),
        count(*) filter (where a.is_new and not a.success) - count(*) filter (where not a.is_new and a.success),
        count(*) filter (where a.is_new and a.attempt_number > 1),
        count(*) filter (where c.status = 'delivered'), count(*) filter (where c.status = 'dead'),
        coalesce(array_agg(a.duration_ms) filter (where a.was_timed), '{}')
      from result r
      full join attempt a on a.delivery_id = r.delivery_id and a.attempt_number = r.attempt_number
      full join changed c on c.id = r.delivery_id and c.attempt_number = r.attempt_number
      group by r.tenant_id, r.subscription_id
    )
    select id from changed /* all tenants: what this process has claimed */`,
};

/** The engine's side of deliveries: claim, record, release, sweep. */
@Injectable()
export class LaneRepository {
  constructor(private readonly database: Database) {}

  /** Takes due deliveries of each lane, at most its quota, for `leaseSeconds`. */
  claimDue(
    lanes: { subscriptionId: string; quota: number }[],
    leaseSeconds: number,
  ): Promise<ClaimedDelivery[]> {
    return this.database.run<ClaimedDelivery>(CLAIM_DUE, [
      leaseSeconds,
      lanes.map(({ subscriptionId }) => subscriptionId),
      lanes.map(({ quota }) => quota),
    ]);
  }

  /**
   * Takes due deliveries of a lane with a rate limit or a concurrency limit, which hold across all workers: the
   * lane's row is locked while slots are counted, and each delivery is told how long to wait for its slot.
   * @returns null when there is no such subscription any more
   */
  claimPaced(
    subscriptionId: string,
    quota: number,
    limits: LaneLimits,
    leaseSeconds: number,
  ): Promise<PacedClaim | null> {
    return this.database.transaction(async (connection) => {
      const slotInMs = await lockLane(connection, subscriptionId);
      if (slotInMs === null) return null;
      const { spacingMs, maxConcurrency } = limits;
      const free =
        maxConcurrency === null ? quota : maxConcurrency - (await inFlight(connection, subscriptionId));
      const slots = spacingMs === null ? quota : Math.ceil((SLOT_HORIZON_MS - slotInMs) / spacingMs);
      const allowed = Math.min(quota, free, slots);
      const claimed =
        allowed > 0
          ? await connection.run<ClaimedDelivery>(CLAIM_DUE, [leaseSeconds, [subscriptionId], [allowed]])
          : [];
      if (spacingMs === null) return { deliveries: claimed, nextInMs: null };
      const nextSlotInMs = slotInMs + claimed.length * spacingMs;
      await connection.run(
        `update lane set next_slot_at = now() + make_interval(secs => $2) where subscription_id = $1
         /* all tenants: a lane that is due */`,
        [subscriptionId, nextSlotInMs / 1000],
      );
      return {
        deliveries: claimed.map((delivery, index) => ({
          ...delivery,
          sendAfterMs: slotInMs + index * spacingMs,
        })),
        // Half a horizon early, so that slots are handed on without a pause.
        nextInMs:
          claimed.length === Math.max(slots, 0) ? Math.max(nextSlotInMs - SLOT_HORIZON_MS / 2, 0) : null,
      };
    });
  }

  /**
   * Writes attempts and the statuses that follow from them in one commit.
   * @returns the deliveries whose status changed; the others were cancelled or claimed anew meanwhile
   */
  async record(results: AttemptResult[]): Promise<Set<string>> {
    const rows = await this.database.run<{ id: string }>(RECORD_RESULTS, RESULT_COLUMNS.parameters(results));
    return new Set(rows.map(({ id }) => id));
  }

  /** The payloads of these events, in this order; an Error for one that is not there. */
  async payloads(eventIds: string[]): Promise<(Buffer | Error)[]> {
    const rows = await this.database.run<{ id: string; payload: Buffer }>(
      'select id, payload from event where id = any ($1::uuid[]) /* all tenants: of claimed deliveries */',
      [eventIds],
    );
    const byId = new Map(rows.map(({ id, payload }) => [id, payload]));
    return eventIds.map((id) => byId.get(id) ?? new Error(`Event ${id} is not there any more`));
  }

  /** Gives claimed deliveries back unsent, as if they had never been claimed. */
  async release(deliveries: Pick<ClaimedDelivery, 'id' | 'attemptNumber'>[]): Promise<void> {
    await this.database.run(
      `update delivery d
       set status = case when d.attempt_count - 1 > d.budget_start then 'retrying' else 'pending' end,
           attempt_count = d.attempt_count - 1, leased_until = null
       from unnest($1::uuid[], $2::int[]) as r(id, attempt_number)
       where d.id = r.id and d.attempt_count = r.attempt_number and d.status = 'delivering'
       /* all tenants: what this process has claimed */`,
      [deliveries.map(({ id }) => id), deliveries.map(({ attemptNumber }) => attemptNumber)],
    );
  }

  /**
   * Lanes that have something due and no worker. Scans delivery_due from lane to lane, so that the cost
   * follows the number of open lanes and not of deliveries. Lanes of inactive subscriptions and of suspended tenants are left alone; those of
   * deleted ones are not, since their deliveries have to be dead-lettered.
   * @param requiresVerification lanes of targets that are not verified are left alone as well, and those whose target is
   *   to be asked are due. Uses subscription_unverified.
   */
  async dueLanes(requiresVerification = false): Promise<string[]> {
    const rows = await this.database.run<{ subscription_id: string }>(
      `with recursive lane as (
         (select subscription_id from delivery where next_attempt_at is not null order by subscription_id limit 1)
         union all
         select (select d.subscription_id from delivery d
                 where d.next_attempt_at is not null and d.subscription_id > lane.subscription_id
                 order by d.subscription_id limit 1)
         from lane where lane.subscription_id is not null
       )
       select lane.subscription_id from lane
       left join subscription s on s.id = lane.subscription_id left join tenant t on t.id = s.tenant_id
       where lane.subscription_id is not null and s.is_active is distinct from false
         and t.suspended is distinct from true
         and (not $1::boolean or s.verification is null or s.verification in ('not_required', 'verified'))
         and exists (
         select 1 from delivery d
         where d.subscription_id = lane.subscription_id and d.next_attempt_at <= now()
           and (d.leased_until is null or d.leased_until <= now()))
       union all
       select id from subscription where verification = 'pending' and $1::boolean
       /* all tenants: the sweep */`,
      [requiresVerification],
    );
    return rows.map((row) => row.subscription_id);
  }

  /** Over all tenants, each counted up to 100,000. Uses delivery_due and delivery_dead. */
  async countOpenAndDead(): Promise<{ open: number; dead: number }> {
    const [counts] = await this.database.run<{ open: number; dead: number }>(
      `select
         (select count(*)::int from (select 1 from delivery where next_attempt_at is not null limit 100000) o) as open,
         (select count(*)::int from (select 1 from delivery where dead_at is not null limit 100000) d) as dead
       /* all tenants: numbers for the operator */`,
    );
    return counts ?? { open: 0, dead: 0 };
  }
}

const LOCK_LANE = `
  select greatest(extract(epoch from next_slot_at - now()) * 1000, 0)::float8 as slot_in_ms from lane
  where subscription_id = $1 for no key update /* all tenants: a lane that is due */`;

/**
 * A row that is there is locked, not written: the second write of a row in one transaction would check its foreign key,
 * and wait for the transaction that deletes the subscription, which waits for the lane. A row that is not there is made while the
 * subscription is locked, since it may be deleted at the same time.
 * @returns milliseconds until the lane's next slot is free, 0 when it is free now; null when its subscription is gone
 */
async function lockLane(connection: Connection, subscriptionId: string): Promise<number | null> {
  const lock = () => connection.run<{ slot_in_ms: number }>(LOCK_LANE, [subscriptionId]);
  let [lane] = await lock();
  if (!lane) {
    await connection.run(
      `insert into lane (subscription_id, next_slot_at)
       select id, now() from subscription where id = $1 for key share on conflict do nothing
       /* all tenants: a lane that is due */`,
      [subscriptionId],
    );
    [lane] = await lock();
  }
  return lane ? lane.slot_in_ms : null;
}

async function inFlight(connection: Connection, subscriptionId: string): Promise<number> {
  const [row] = await connection.run<{ count: number }>(
    `select count(*)::int as count from delivery
     where subscription_id = $1 and next_attempt_at is not null and leased_until > now()
     /* all tenants: a lane that is due */`,
    [subscriptionId],
  );
  return row?.count ?? 0;
}
