import { createHash } from 'node:crypto';
import type { Rows } from './rows.js';
import { waitFor } from './wait-for.js';

/** Tables without a tenant_id whose rows a tenant owns all the same, and how to tell. */
const OWNED_OTHERWISE: Record<string, string> = {
  tenant: 'id = $1',
  delivery_attempt: 'delivery_id in (select id from delivery where tenant_id = $1)',
  lane: 'subscription_id in (select id from subscription where tenant_id = $1)',
};
/** Tables of the service itself. */
const OF_NO_TENANT = ['heartbeat', 'maintenance_run', 'migrations', 'partition_change'];
/** Rows that the service moves from one to the other of its own accord, and adds up: that there are some has to do. */
const STATISTICS = ['delivery_stat', 'delivery_stat_delta', 'dead_letter_count'];
/** Written a while after the owner's own requests. */
const WRITTEN_LATE = ['last_used_at'];

/**
 * All that a tenant owns, a line a row, read from the database itself: equal before and after means that nothing was
 * touched. A new table is covered by its `tenant_id`.
 *
 * @throws Error naming a table of which it is not known whose its rows are
 */
export async function stateOf(rows: Rows, tenantId: string): Promise<string[]> {
  const tables = await rows.query<{ name: string; has_tenant: boolean }>(
    `select relname as name, exists (
         select from pg_attribute where attrelid = c.oid and attname = 'tenant_id' and not attisdropped
       ) as has_tenant
     from pg_class c
     where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace
     order by relname`,
  );
  const state: string[] = [];
  for (const { name, has_tenant } of tables) {
    if (OF_NO_TENANT.includes(name)) continue;
    const condition = has_tenant ? 'tenant_id = $1' : OWNED_OTHERWISE[name];
    if (condition === undefined) throw new Error(`Whose are the rows of the table ${name}?`);
    const found = await rows.query<{ row: string }>(
      `select (to_jsonb(t) - $2::text[])::text as row from ${name} t where ${condition} order by 1`,
      [tenantId, WRITTEN_LATE],
    );
    if (STATISTICS.includes(name)) {
      if (found.length > 0) state.push('statistics');
      continue;
    }
    // The keys of a while ago are moved to a table of their own now and then.
    state.push(...found.map(({ row }) => `${name.replace(/_old$/, '')} ${row}`));
  }
  return [...new Set(state)].sort();
}

/** The same, once nothing changes any more: what a request did may be noted a moment after its answer. */
export async function settledStateOf(rows: Rows, tenantId: string): Promise<string[]> {
  let last = '';
  return waitFor(
    async () => {
      const state = await stateOf(rows, tenantId);
      const text = state.join('\n');
      const isSettled = text === last && !text.includes('"begun"');
      last = text;
      return isSettled && state;
    },
    { what: 'the state of the tenant to settle' },
  );
}

/** The same in few bytes, for what has many rows. */
export function fingerprint(state: string[]): { rows: number; sha256: string } {
  return { rows: state.length, sha256: createHash('sha256').update(state.join('\n')).digest('hex') };
}
