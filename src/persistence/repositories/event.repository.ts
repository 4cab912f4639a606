import { Inject, Injectable } from '@nestjs/common';
import { DeliveryCounts } from '../../domain/delivery-status.js';
import { uuidV7, uuidV7Floor } from '../../domain/uuid-v7.js';
import { ColumnList } from '../column-list.js';
import { type Connection, Database } from '../database.js';
import { Page, PageRequest, pageUpTo } from '../page.js';
import type { EventFilter } from '../search/delivery-filter.js';
import { idsOfMillisecond } from '../search/id-range.js';
import { olderThan, walkEvents } from '../search/walk.js';

/** An event as it is written, with the deliveries it is to have. */
export interface NewEvent {
  id: string;
  tenantId: string;
  eventId: string;
  eventType: string;
  idempotencyKey: string | null;
  /** SHA-256 of what must be equal for a repetition to count as the same event. */
  fingerprint: Buffer;
  payload: Buffer;
  /** Null: application/json. */
  contentType: string | null;
  /** Null when it was handed in with an API key. */
  sourceId: string | null;
  requestId: string | null;
  /** How often it was delivered before; 0 unless given. */
  hops?: number;
  receivedAt: Date;
  /**
   * The subscriptions that are to get it. A list that many events share: their deliveries are made when they are
   * written, since thousands of events may wait, and thousands of subscriptions want each of them.
   */
  wantedBy: readonly { id: string }[];
}

export interface EventRow {
  id: string;
  tenant_id: string;
  event_id: string;
  event_type: string;
  idempotency_key: string | null;
  /** Null: application/json. */
  content_type: string | null;
  source_id: string | null;
  request_id: string | null;
  delivery_count: number;
  received_at: Date;
}

export interface StoredEvent extends EventRow {
  counts: DeliveryCounts;
}

export interface StoredPayload {
  /** As it was handed in. */
  bytes: Buffer;
  /** Null: application/json. */
  contentType: string | null;
  /** Null when it was handed in with an API key: then it is JSON. */
  sourceId: string | null;
}

export interface KeyedEvent {
  eventId: string;
  fingerprint: Buffer;
}

const EVENT_COLUMNS = new ColumnList<{ event: NewEvent; payloadOffset: number }>([
  { name: 'id', type: 'uuid', value: ({ event }) => event.id, isPlain: true },
  { name: 'tenant_id', type: 'uuid', value: ({ event }) => event.tenantId, isPlain: true },
  { name: 'event_id', type: 'text', value: ({ event }) => event.eventId },
  { name: 'event_type', type: 'text', value: ({ event }) => event.eventType },
  { name: 'idempotency_key', type: 'text', value: ({ event }) => event.idempotencyKey },
  { name: 'fingerprint', type: 'bytea', value: ({ event }) => event.fingerprint },
  { name: 'payload_offset', type: 'int', value: ({ payloadOffset }) => payloadOffset, isPlain: true },
  { name: 'payload_length', type: 'int', value: ({ event }) => event.payload.length, isPlain: true },
  { name: 'request_id', type: 'text', value: ({ event }) => event.requestId },
  { name: 'received_at', type: 'timestamptz', value: ({ event }) => event.receivedAt },
  { name: 'delivery_count', type: 'int', value: ({ event }) => event.wantedBy.length, isPlain: true },
  { name: 'content_type', type: 'text', value: ({ event }) => event.contentType },
  { name: 'source_id', type: 'uuid', value: ({ event }) => event.sourceId, isPlain: true },
  { name: 'hops', type: 'smallint', value: ({ event }) => event.hops || null, isPlain: true },
]);

const DELIVERY_COLUMNS = new ColumnList<{ event: NewEvent; subscriptionId: string }>([
  // The same millisecond as in the event's id: its day is its deliveries' day.
  { name: 'id', type: 'uuid', value: ({ event }) => uuidV7(event.receivedAt.getTime()), isPlain: true },
  { name: 'event_id', type: 'uuid', value: ({ event }) => event.id, isPlain: true },
  { name: 'subscription_id', type: 'uuid', value: ({ subscriptionId }) => subscriptionId, isPlain: true },
]);

/**
 * Idempotency check, events and deliveries in one statement and one commit. Returns the events that were new.
 *
 * A key is looked up in the old generation first, then taken in the present one: see PurgeRepository.rotateKeys.
 * Keys are taken in one order everywhere, so that two such statements never wait for each other in a circle.
 * Payloads travel as one binary parameter: as an array of bytea they would be sent as text, at twice the size.
 */
const INSERT_EVENTS = {
  name: 'insert-events',
  text: `
    with input as (
      select id, tenant_id, event_id, event_type, idempotency_key, fingerprint,
             substring($1::bytea from payload_offset for payload_length) as payload,
             content_type, source_id, request_id, received_at, delivery_count, hops
      from ${EVENT_COLUMNS.unnest('t', 3)}
    ), known as (
      select input.id from input
      join idempotency_key_old k on k.tenant_id = input.tenant_id and k.key = input.idempotency_key
      where k.event_id >= $2
    ), keyed as (
      insert into idempotency_key (tenant_id, key, event_id, fingerprint)
      select tenant_id, idempotency_key, id, fingerprint from input
      where idempotency_key is not null and id not in (select id from known)
      order by tenant_id, idempotency_key
      on conflict do nothing
      returning event_id
    ), accepted as (
      select * from input where idempotency_key is null or id in (select event_id from keyed)
    ), stored as (
      insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, content_type, source_id,
                         request_id, delivery_count, received_at, hops)
      select id, tenant_id, event_id, event_type, idempotency_key, payload, content_type, source_id,
             request_id, delivery_count, received_at, hops
      from accepted
    ), queued as (
      insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, next_attempt_at, created_at)
      select d.id, a.tenant_id, a.id, d.subscription_id, a.event_type, 'pending', now(), a.received_at
      from ${DELIVERY_COLUMNS.unnest('d', 3 + EVENT_COLUMNS.length)}
      join accepted a on a.id = d.event_id
    )
    select id from accepted`,
};

const FIND_BY_KEYS = {
  name: 'find-events-by-keys',
  text: `
    with wanted as (select * from unnest($1::uuid[], $2::text[]) as w(tenant_id, key))
    select k.tenant_id, k.key, k.event_id, k.fingerprint
    from wanted join idempotency_key_old k on k.tenant_id = wanted.tenant_id and k.key = wanted.key
    where k.event_id >= $3
    union all
    select k.tenant_id, k.key, k.event_id, k.fingerprint
    from wanted join idempotency_key k on k.tenant_id = wanted.tenant_id and k.key = wanted.key`,
};

const COLUMNS = `e.id, e.tenant_id, e.event_id, e.event_type, e.idempotency_key, e.content_type, e.source_id,
  e.request_id, e.delivery_count, e.received_at`;

@Injectable()
export class EventRepository {
  constructor(@Inject(Database) private readonly database: Connection) {}

  /**
   * Writes events and their deliveries in one commit, except those whose idempotency key was taken before.
   * @param keysSinceMs keys of the old generation count when their event was received then or later
   * @returns the ids of the events that were written
   */
  async insert(events: NewEvent[], keysSinceMs = 0): Promise<Set<string>> {
    let offset = 1;
    const placed = events.map((event) => {
      const payloadOffset = offset;
      offset += event.payload.length;
      return { event, payloadOffset };
    });
    const deliveries = events.flatMap((event) =>
      event.wantedBy.map(({ id }) => ({ event, subscriptionId: id })),
    );
    const rows = await this.database.run<{ id: string }>(INSERT_EVENTS, [
      Buffer.concat(events.map(({ payload }) => payload)),
      uuidV7Floor(keysSinceMs),
      ...EVENT_COLUMNS.parameters(placed),
      ...DELIVERY_COLUMNS.parameters(deliveries),
    ]);
    return new Set(rows.map(({ id }) => id));
  }

  /**
   * Which event holds each of these idempotency keys, in the order asked; undefined where none does.
   * @param keysSinceMs as in {@link insert}
   */
  async findByKeys(
    wanted: { tenantId: string; key: string }[],
    keysSinceMs = 0,
  ): Promise<(KeyedEvent | undefined)[]> {
    const rows = await this.database.run<{
      tenant_id: string;
      key: string;
      event_id: string;
      fingerprint: Buffer;
    }>(FIND_BY_KEYS, [
      wanted.map(({ tenantId }) => tenantId),
      wanted.map(({ key }) => key),
      uuidV7Floor(keysSinceMs),
    ]);
    // The present generation comes last, hence wins.
    const byKey = new Map(rows.map((row) => [`${row.tenant_id}:${row.key}`, row]));
    return wanted.map(({ tenantId, key }) => {
      const row = byKey.get(`${tenantId}:${key}`);
      return row && { eventId: row.event_id, fingerprint: row.fingerprint };
    });
  }

  async find(tenantId: string, id: string): Promise<StoredEvent | undefined> {
    return (await this.withCounts(tenantId, [id]))[0];
  }

  async payload(tenantId: string, id: string): Promise<StoredPayload | undefined> {
    const [row] = await this.database.run<StoredPayload>(
      `select payload as bytes, content_type as "contentType", source_id as "sourceId"
       from event where tenant_id = $1 and id = $2`,
      [tenantId, id],
    );
    return row;
  }

  /** A tenant's events, newest first. A page may be short of rows and yet have a next one: see walk. */
  async list(
    tenantId: string,
    { limit, cursor }: PageRequest,
    filter: EventFilter,
  ): Promise<Page<StoredEvent>> {
    const { ids, reached } = await walkEvents(this.database, tenantId, filter, olderThan(cursor, limit));
    if (ids.length === 0) return pageUpTo([], reached);
    return pageUpTo(await this.withCounts(tenantId, ids), reached);
  }

  /**
   * Events, the newest first, and how the deliveries of each stand, all of it in one statement. Deliveries carry the
   * millisecond of their event in their id, so a short range of the primary key holds all of them.
   */
  private async withCounts(tenantId: string, ids: string[]): Promise<StoredEvent[]> {
    const ranges = ids.map(idsOfMillisecond);
    const rows = await this.database.run<EventRow & DeliveryCounts>(
      `select ${COLUMNS}, c.* from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as wanted(id, low, high)
       join event e on e.id = wanted.id and (e.tenant_id = $4) is true
       cross join lateral (
         select count(*) filter (where d.status in ('pending', 'delivering', 'retrying'))::int as open,
                count(*) filter (where d.status = 'delivered')::int as delivered,
                count(*) filter (where d.status = 'dead')::int as dead,
                count(*) filter (where d.status = 'cancelled')::int as cancelled
         from delivery d
         where d.tenant_id = $4 and d.id >= wanted.low and d.id < wanted.high and d.event_id = wanted.id
       ) c
       order by e.id desc /* all tenants: of the ids only what is this one's */`,
      [ids, ranges.map(({ low }) => low), ranges.map(({ high }) => high), tenantId],
    );
    return rows.map(({ open, delivered, dead, cancelled, ...event }) => ({
      ...event,
      counts: { open, delivered, dead, cancelled },
    }));
  }
}
