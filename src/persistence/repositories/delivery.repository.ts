import { Inject, Injectable } from '@nestjs/common';
import { DeadReason, DeliveryStatus } from '../../domain/delivery-status.js';
import { type Connection, Database } from '../database.js';
import { Page, PageRequest, pageUpTo } from '../page.js';
import type { DeliveryFilter } from '../search/delivery-filter.js';
import { walkDeliveries } from '../search/delivery-walk.js';
import { olderThan } from '../search/walk.js';

export interface DeliveryRow {
  id: string;
  event_id: string;
  subscription_id: string;
  event_type: string;
  status: DeliveryStatus;
  attempt_count: number;
  next_attempt_at: Date | null;
  last_status_code: number | null;
  last_error: string | null;
  dead_reason: DeadReason | null;
  dead_at: Date | null;
  created_at: Date;
  completed_at: Date | null;
}

export interface AttemptRow {
  attempt_number: number;
  started_at: Date;
  duration_ms: number;
  status_code: number | null;
  success: boolean;
  error: string | null;
  response_headers: unknown;
  response_body: string | null;
}

export const DELIVERY_COLUMNS = `d.id, d.event_id, d.subscription_id, d.event_type, d.status, d.attempt_count,
  d.next_attempt_at, d.last_status_code, d.last_error, d.dead_reason, d.dead_at, d.created_at, d.completed_at`;

/** What a person's retry sets: a terminal delivery gets a fresh budget, one that waits is due now. */
export const REOPENED = `
  status = case when d.next_attempt_at is null then 'pending' else d.status end,
  budget_start = case when d.next_attempt_at is null then d.attempt_count else d.budget_start end,
  next_attempt_at = now(), leased_until = null, dead_reason = null, dead_at = null, cancelled_at = null,
  completed_at = null`;

/** What a person's cancel or discard sets. A worker that has it in hand can only record its attempt any more. */
export const CANCELLED = `
  status = 'cancelled', next_attempt_at = null, leased_until = null, dead_reason = null, dead_at = null,
  cancelled_at = now(), completed_at = now()`;

/** Whether there is anybody to deliver to. Uses subscription_pkey. */
export const HAS_SUBSCRIPTION = `
  exists (select 1 from subscription s where s.id = d.subscription_id and s.tenant_id = d.tenant_id)`;

/** A person's side of deliveries: look, retry, cancel. */
@Injectable()
export class DeliveryRepository {
  constructor(@Inject(Database) private readonly database: Connection) {}

  async find(tenantId: string, id: string): Promise<DeliveryRow | undefined> {
    const [row] = await this.database.run<DeliveryRow>(
      `select ${DELIVERY_COLUMNS} from delivery d where d.tenant_id = $1 and d.id = $2`,
      [tenantId, id],
    );
    return row;
  }

  /** Every attempt of a delivery, the first one first. Uses delivery_attempt_pkey. */
  attempts(tenantId: string, id: string): Promise<AttemptRow[]> {
    return this.database.run<AttemptRow>(
      `select a.attempt_number, a.started_at, a.duration_ms, a.status_code, a.success, a.error, a.response_headers,
              a.response_body
       from delivery d join delivery_attempt a on a.delivery_id = d.id
       where d.tenant_id = $1 and d.id = $2 and a.delivery_id = $2
       order by a.attempt_number`,
      [tenantId, id],
    );
  }

  /**
   * A tenant's deliveries, newest first. Where little of much fits, a page may be short of rows and yet have a next one:
   * see walk.
   */
  async list(
    tenantId: string,
    { limit, cursor }: PageRequest,
    filter: DeliveryFilter,
  ): Promise<Page<DeliveryRow>> {
    const { ids, reached } = await walkDeliveries(this.database, tenantId, filter, olderThan(cursor, limit));
    if (ids.length === 0) return pageUpTo([], reached);
    const rows = await this.database.run<DeliveryRow>(
      `select ${DELIVERY_COLUMNS} from delivery d
       where d.id = any ($2::uuid[]) and (d.tenant_id = $1) is true order by d.id desc
       /* all tenants: of the ids only what is this one's */`,
      [tenantId, ids],
    );
    return pageUpTo(rows, reached);
  }

  /**
   * Opens a terminal delivery again with a fresh budget of attempts, or makes a waiting one due now.
   * @returns undefined, with nothing changed, when there is none, it is being attempted, or its subscription is gone
   */
  async reopen(tenantId: string, id: string): Promise<DeliveryRow | undefined> {
    const [row] = await this.database.run<DeliveryRow>(
      `update delivery d set ${REOPENED}
       where d.tenant_id = $1 and d.id = $2 and d.status <> 'delivering' and ${HAS_SUBSCRIPTION}
       returning ${DELIVERY_COLUMNS}`,
      [tenantId, id],
    );
    return row;
  }

  /** @returns undefined, with nothing changed, when there is none or it is terminal already */
  async cancel(tenantId: string, id: string): Promise<DeliveryRow | undefined> {
    const [row] = await this.database.run<DeliveryRow>(
      `update delivery d set ${CANCELLED}
       where d.tenant_id = $1 and d.id = $2 and d.next_attempt_at is not null
       returning ${DELIVERY_COLUMNS}`,
      [tenantId, id],
    );
    return row;
  }
}

/** The least and the greatest id of the millisecond that a UUIDv7 carries; an event's deliveries share its own. */
export function idsOfSameMillisecond(id: string): [low: string, high: string] {
  const time = id.slice(0, 13);
  return [`${time}-0000-0000-000000000000`, `${time}-ffff-ffff-ffffffffffff`];
}
