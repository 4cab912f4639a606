import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { uuidTime, uuidV7 } from '../../src/domain/uuid-v7.js';

/** Writes rows as the service would have written them at some time, for tests of what it later does with them. */
export class Rows {
  private readonly pool: pg.Pool;

  constructor(databaseUrl: string) {
    this.pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
    // A database that is dropped ends its connections; the next statement tells.
    this.pool.on('error', () => undefined);
  }

  end(): Promise<void> {
    return this.pool.end();
  }

  async query<Row extends pg.QueryResultRow>(statement: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query<Row>(statement, values)).rows;
  }

  async tenant(): Promise<string> {
    const id = uuidV7(Date.now());
    await this.query(`insert into tenant (id, name) values ($1, 'a tenant')`, [id]);
    return id;
  }

  async subscription(
    tenantId: string,
    { isActive = true, targetUrl = 'http://127.0.0.1:60009/' } = {},
  ): Promise<string> {
    const id = uuidV7(Date.now());
    await this.query(
      `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
       values ($1, $2, $3, '{}', $4, $5, '{}', '{}')`,
      [id, tenantId, targetUrl, isActive, `whsec_${randomBytes(24).toString('base64')}`],
    );
    return id;
  }

  async event(
    tenantId: string,
    {
      at = Date.now(),
      eventType = 'order.paid',
      payload = '{}',
      key = null as string | null,
      deliveryCount = 0,
    } = {},
  ): Promise<string> {
    const id = uuidV7(at);
    await this.query(
      `insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, delivery_count, received_at)
       values ($1, $2, $1::uuid::text, $3, $4, $5, $6, $7)`,
      [id, tenantId, eventType, key, Buffer.from(payload), deliveryCount, new Date(at)],
    );
    if (key !== null) {
      await this.query(
        `insert into idempotency_key (tenant_id, key, event_id, fingerprint) values ($1, $2, $3, '\\x00')`,
        [tenantId, key, id],
      );
    }
    return id;
  }

  /** With one recorded attempt when `attempts` is not 0. Open statuses are due at `dueAt`. */
  async delivery(
    tenantId: string,
    eventId: string,
    subscriptionId: string,
    {
      status = 'pending',
      attempts = 0,
      dueAt = uuidTime(eventId),
      endedAt = uuidTime(eventId),
      reason = 'exhausted',
      eventType = 'order.paid',
      leasedUntil = Date.now() + 60_000,
    } = {},
  ): Promise<string> {
    const at = uuidTime(eventId);
    const id = uuidV7(at);
    const isOpen = ['pending', 'delivering', 'retrying'].includes(status);
    const isDead = status === 'dead';
    await this.query(
      `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count,
         next_attempt_at, leased_until, last_status_code, dead_reason, dead_at, completed_at, created_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
      [
        id,
        tenantId,
        eventId,
        subscriptionId,
        eventType,
        status,
        attempts,
        isOpen ? new Date(dueAt) : null,
        status === 'delivering' ? new Date(leasedUntil) : null,
        attempts > 0 ? 500 : null,
        isDead ? reason : null,
        isDead ? new Date(endedAt) : null,
        isOpen ? null : new Date(endedAt),
        new Date(at),
      ],
    );
    if (attempts > 0) await this.attempt(id, 1);
    return id;
  }

  async attempt(deliveryId: string, attemptNumber: number): Promise<void> {
    await this.query(
      `insert into delivery_attempt (delivery_id, attempt_number, started_at, duration_ms, status_code, success, error,
         response_headers, response_body)
       values ($1, $2, now(), 12, 500, false, 'The subscriber answered 500.', '{"content-type": "text/plain"}', 'no')`,
      [deliveryId, attemptNumber],
    );
  }

  /**
   * So many events of yesterday with a key, a delivery and an attempt each, a millisecond apart. Every other delivery
   * has been made, the rest are due.
   */
  async many(tenantId: string, subscriptionId: string, number: number): Promise<void> {
    await this.query(
      `with made as (
         select (lpad(to_hex($1::bigint + n), 12, '0') || '7' || substr(gen_random_uuid()::text, 16))::uuid as id, n
         from generate_series(1, $2) as n
       ), events as (
         insert into event (id, tenant_id, event_id, event_type, idempotency_key, payload, delivery_count, received_at)
         select id, $3, id::text, 'order.paid', id::text, '{}', 1, now() from made
       ), keys as (
         insert into idempotency_key (tenant_id, key, event_id, fingerprint) select $3, id::text, id, '\\x00' from made
       ), deliveries as (
         insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, attempt_count,
                               next_attempt_at, completed_at, created_at)
         select id, $3, id, $4, 'order.paid', case when n % 2 = 0 then 'delivered' else 'retrying' end, 1,
                case when n % 2 = 1 then now() end, case when n % 2 = 0 then now() end, now() from made
       )
       insert into delivery_attempt (delivery_id, attempt_number, started_at, duration_ms, success)
       select id, 1, now(), 1, false from made`,
      [Date.now() - 86_400_000, number, tenantId, subscriptionId],
    );
  }
}
