import { randomUUID } from 'node:crypto';
import { request } from 'undici';
import type { BadWay } from './memory-sink.js';
import { ADMIN_KEY, type Stand } from './stand.js';

const ROWS_A_STATEMENT = 50_000;

export interface Tenant {
  id: string;
  apiKey: string;
}

export interface LaneRules {
  timeoutMs?: number;
  eventTypes?: string[];
  isActive?: boolean;
}

export async function createTenant({ apiUrl }: Stand, name: string): Promise<Tenant> {
  const { statusCode, body } = await request(`${apiUrl}/api/v1/tenants`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name }),
  });
  const answer = (await body.json()) as { id: string; api_key: string };
  if (statusCode !== 201) throw new Error(`No tenant was made: ${statusCode}`);
  return { id: answer.id, apiKey: answer.api_key };
}

/** Subscriptions as the API would make them. @returns their ids */
export async function createLanes(
  { database }: Stand,
  tenant: Tenant,
  urls: string[],
  { timeoutMs, eventTypes = ['order.paid'], isActive = true }: LaneRules = {},
): Promise<string[]> {
  const ids = urls.map(() => randomUUID());
  await database.query(
    `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata, timeout_ms)
     select id, $1, url, $4, $5, 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '{}', '{}', $6
     from unnest($2::uuid[], $3::text[]) as t(id, url)`,
    [tenant.id, ids, urls, eventTypes, isActive, timeoutMs ?? null],
  );
  return ids;
}

/** So many URLs, a host each out of 127.0.0.0/8, the ways taken in turn. */
export function badUrls(ports: Record<BadWay, number>, ways: readonly BadWay[], count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const host = `127.1.${index >> 8}.${index & 255 || 256 - 1}`;
    return `http://${host}:${ports[ways[index % ways.length]!]}/${index}`;
  });
}

/**
 * Deliveries that are all due at the same moment: an event of its own for each, lanes taken in turn. Nobody works on
 * them before the last is written.
 */
export async function seedDue(
  { database }: Stand,
  tenant: Tenant,
  lanes: string[],
  { count, payloadBytes = 300 }: { count: number; payloadBytes?: number },
): Promise<void> {
  await setActive({ database }, tenant, false);
  for (let from = 0; from < count; from += ROWS_A_STATEMENT) {
    await database.query(WRITE_DUE, [
      tenant.id,
      lanes,
      from,
      Math.min(ROWS_A_STATEMENT, count - from),
      payloadBytes,
    ]);
  }
  await database.query('analyze event, delivery');
  await setActive({ database }, tenant, true);
}

async function setActive({ database }: Pick<Stand, 'database'>, tenant: Tenant, isActive: boolean) {
  await database.query('update subscription set is_active = $2 where tenant_id = $1', [tenant.id, isActive]);
}

/** A UUIDv7 of now: PostgreSQL has a function for it only since version 18. */
const NEW_ID = `(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7' ||
                 substr(gen_random_uuid()::text, 16))::uuid`;

/** $1 tenant, $2 subscriptions, $3 number of the first, $4 how many, $5 bytes of payload. */
const WRITE_DUE = `
  with source as materialized (
    select ${NEW_ID} as event_id, ${NEW_ID} as delivery_id,
           ($2::uuid[])[1 + n % cardinality($2::uuid[])] as subscription_id
    from generate_series($3::int, $3::int + $4::int - 1) as n
  ), events as (
    insert into event (id, tenant_id, event_id, event_type, payload, delivery_count, received_at)
    select event_id, $1, event_id::text, 'order.paid',
           convert_to('{"note":"' || repeat('x', $5::int - 11) || '"}', 'UTF8'), 1, now()
    from source
  )
  insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, next_attempt_at, created_at)
  select delivery_id, $1, event_id, subscription_id, 'order.paid', 'pending', now(), now() from source`;
