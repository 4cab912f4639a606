import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { startBuiltService } from '../support/built-service.js';
import { createDatabase } from '../support/database.js';
import { Rows } from '../support/rows.js';
import { fingerprint, stateOf } from '../support/tenant-state.js';
import { waitFor } from '../support/wait-for.js';

const STEP = 2_000;
const DELIVERIES = 5 * STEP;

let database: Awaited<ReturnType<typeof createDatabase>>;
let rows: Rows;
let obstacle: pg.Client;

beforeAll(async () => {
  [database] = await Promise.all([createDatabase(), builtMain()]);
  rows = new Rows(database.url);
  obstacle = new pg.Client({ connectionString: database.url });
  await obstacle.connect();
});
afterAll(async () => {
  await obstacle.end();
  await rows.end();
  await database.drop();
});

const start = () =>
  startBuiltService({
    databaseUrl: database.url,
    env: { LOG_LEVEL: 'silent', SWEEP_INTERVAL_SECONDS: '0.2' },
  });

/** Nothing tries the deliveries: this is about who deletes them. */
async function tenantWithMany(number: number): Promise<string> {
  const id = await rows.tenant();
  await rows.many(id, await rows.subscription(id), number);
  await rows.query(
    `update delivery set next_attempt_at = now() + interval '1 day'
     where tenant_id = $1 and next_attempt_at is not null`,
    [id],
  );
  return id;
}

/** The audit log has a time of its own. */
const owned = async (id: string) => (await stateOf(rows, id)).filter((row) => !row.startsWith('audit_log '));

const deliveriesOf = async (id: string) =>
  (await rows.query<{ n: number }>('select count(*)::int as n from delivery where tenant_id = $1', [id]))[0]!
    .n;

it('goes on deleting what a tenant owned when the process is killed in the middle of it', async () => {
  const [id, neighbour] = [await tenantWithMany(DELIVERIES), await tenantWithMany(100)];
  const first = await start();
  const before = fingerprint(await owned(neighbour));
  const attempts = () => rows.query('select from delivery_attempt');

  // The newest go first, so it comes upon this one in its third step.
  await obstacle.query('begin');
  await obstacle.query(
    'select from delivery where tenant_id = $1 and id = (select id from delivery where tenant_id = $1 order by id offset $2 limit 1) for update',
    [id, 2.5 * STEP],
  );
  expect(await first.admin.request('DELETE', `/tenants/${id}`)).toMatchObject({ status: 202 });
  await waitFor(async () => (await deliveriesOf(id)) === DELIVERIES - 2 * STEP, {
    what: 'two steps',
  });
  await first.kill();
  await obstacle.query('rollback');
  expect(await deliveriesOf(id)).toBeGreaterThan(STEP);

  const second = await start();
  await waitFor(async () => (await owned(id)).every((row) => row.startsWith('tenant ')), {
    what: 'all that it owned to be gone',
  });
  expect((await second.admin.request('GET', `/tenants/${id}`)).status).toBe(200);
  // As if the three minutes were over for which a tenant stays.
  await rows.query(`update tenant set deletion_requested_at = now() - interval '1 day' where id = $1`, [id]);
  await waitFor(async () => (await second.admin.request('GET', `/tenants/${id}`)).status === 404, {
    what: 'the tenant to be gone',
  });
  expect(await owned(id)).toEqual([]);
  expect(await attempts()).toHaveLength(100);
  expect(fingerprint(await owned(neighbour))).toEqual(before);

  const { body } = await second.admin.request('GET', `/audit?tenant_id=${id}`);
  expect(body.data).toMatchObject([{ action: 'tenant.remove' }, { action: 'tenant.delete', result: 'ok' }]);
  await second.kill();
});
