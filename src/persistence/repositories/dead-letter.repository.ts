import { Inject, Injectable } from '@nestjs/common';
import { DeadReason } from '../../domain/delivery-status.js';
import { type Connection, Database } from '../database.js';
import { Page, PageRequest, toPage } from '../page.js';
import {
  CANCELLED,
  DELIVERY_COLUMNS,
  DeliveryRow,
  HAS_SUBSCRIPTION,
  REOPENED,
} from './delivery.repository.js';

export interface DeadLetterRow extends DeliveryRow {
  dead_reason: DeadReason;
  dead_at: Date;
}

export interface DeadLetterFilter {
  subscriptionId?: string | undefined;
  eventType?: string | undefined;
  reason?: DeadReason | undefined;
  /** Died at this time or later. */
  from?: Date | undefined;
  /** Died before this time. */
  to?: Date | undefined;
}

/** One bounded step through the dead letters of a tenant. */
export interface DeadLetterBatch {
  /** How many of them matched and were changed. */
  changed: number;
  /** The lanes of those that were changed. */
  subscriptionIds: string[];
  /** Where the next step begins; null when all have been looked at. */
  next: string | null;
}

const ROWS_A_BATCH = 1_000;

/** Parameters $2 to $6; see {@link filterValues}. */
const MATCHES = `
  ($2::uuid is null or d.subscription_id = $2) and ($3::text is null or d.event_type = $3)
  and ($4::text is null or d.dead_reason = $4) and ($5::timestamptz is null or d.dead_at >= $5)
  and ($6::timestamptz is null or d.dead_at < $6)`;

/** Deliveries that will not be tried again by themselves. Every query uses delivery_dead or the primary key. */
@Injectable()
export class DeadLetterRepository {
  constructor(@Inject(Database) private readonly database: Connection) {}

  async find(tenantId: string, id: string): Promise<DeadLetterRow | undefined> {
    const [row] = await this.database.run<DeadLetterRow>(
      `select ${DELIVERY_COLUMNS} from delivery d where d.tenant_id = $1 and d.id = $2 and d.dead_at is not null`,
      [tenantId, id],
    );
    return row;
  }

  /** A tenant's dead letters, the newest event first. */
  async list(
    tenantId: string,
    { limit, cursor }: PageRequest,
    filter: DeadLetterFilter,
  ): Promise<Page<DeadLetterRow>> {
    const rows = await this.database.run<DeadLetterRow>(
      `select ${DELIVERY_COLUMNS} from delivery d
       where d.tenant_id = $1 and d.dead_at is not null and ${MATCHES} and ($7::uuid is null or d.id < $7)
       order by d.id desc limit $8`,
      [tenantId, ...filterValues(filter), cursor, limit + 1],
    );
    return toPage(rows, limit);
  }

  /** @returns undefined, with nothing changed, when there is no such dead letter or its subscription is gone */
  async reopen(tenantId: string, id: string): Promise<DeliveryRow | undefined> {
    const [row] = await this.database.run<DeliveryRow>(
      `update delivery d set ${REOPENED}
       where d.tenant_id = $1 and d.id = $2 and d.dead_at is not null and ${HAS_SUBSCRIPTION}
       returning ${DELIVERY_COLUMNS}`,
      [tenantId, id],
    );
    return row;
  }

  /** @returns whether there was such a dead letter */
  async discard(tenantId: string, id: string): Promise<boolean> {
    const rows = await this.database.run(
      `update delivery d set ${CANCELLED} where d.tenant_id = $1 and d.id = $2 and d.dead_at is not null
       returning d.id`,
      [tenantId, id],
    );
    return rows.length === 1;
  }

  /**
   * Opens those again that match, among the next thousand of the tenant; those whose subscription is gone stay.
   * @param after `next` of the batch before, null at first
   */
  reopenBatch(tenantId: string, filter: DeadLetterFilter, after: string | null): Promise<DeadLetterBatch> {
    return this.changeBatch(`${REOPENED} from batch b where ${HAS_SUBSCRIPTION}`, tenantId, filter, after);
  }

  /** Discards those that match, among the next thousand of the tenant. */
  discardBatch(tenantId: string, filter: DeadLetterFilter, after: string | null): Promise<DeadLetterBatch> {
    return this.changeBatch(`${CANCELLED} from batch b where true`, tenantId, filter, after);
  }

  /**
   * Looks at a bounded number of rows whether they match or not, so that no statement runs long. It goes from the
   * newest to the oldest: what dies meanwhile is never met, and what was met is never met again.
   */
  private async changeBatch(
    change: string,
    tenantId: string,
    filter: DeadLetterFilter,
    after: string | null,
  ): Promise<DeadLetterBatch> {
    const [row] = await this.database.run<{ seen: number; last: string | null; subscription_ids: string[] }>(
      `with batch as materialized (
         select d.id from delivery d
         where d.tenant_id = $1 and d.dead_at is not null and ($7::uuid is null or d.id < $7)
         order by d.id desc limit $8
       ), changed as (
         update delivery d set ${change} and d.tenant_id = $1 and d.id = b.id and d.dead_at is not null and ${MATCHES}
         returning d.subscription_id
       )
       select (select count(*)::int from batch) as seen, (select id from batch order by id limit 1) as last,
              array(select subscription_id from changed)::text[] as subscription_ids`,
      [tenantId, ...filterValues(filter), after, ROWS_A_BATCH],
    );
    const { seen = 0, last = null, subscription_ids = [] } = row ?? {};
    return {
      changed: subscription_ids.length,
      subscriptionIds: [...new Set(subscription_ids)],
      next: seen < ROWS_A_BATCH ? null : last,
    };
  }
}

function filterValues({ subscriptionId, eventType, reason, from, to }: DeadLetterFilter): unknown[] {
  return [subscriptionId ?? null, eventType ?? null, reason ?? null, from ?? null, to ?? null];
}
