import { afterAll, beforeAll, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { codeBlocks, codeRows, readDocument } from '../support/markdown.js';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';

const EXAMPLES = readDocument('docs/search.md', 'By example');
const ANSWER = readDocument('docs/search.md', 'What it answers');

let posthorn: Posthorn;
let tenant: TestTenant;
let rows: Rows;
/** The names of the table, by the ids of the deliveries. */
const names = new Map<string, string>();

beforeAll(async () => {
  // No worker: deliveries stay as the table has them.
  posthorn = await startPosthorn({ env: { ROLE: 'api', REDIS_URL: (await freshRedis()).url } });
  rows = new Rows(posthorn.databaseUrl);
  tenant = await posthorn.tenant();
  const subscription = await rows.subscription(tenant.id);
  for (const [name, time, ...cells] of codeRows(EXAMPLES)) {
    const [type, status, code, error, payload] = cells.map((cell) => cell.replaceAll('`', ''));
    const at = Date.parse(`2026-01-31T${time}Z`);
    const event = await rows.event(tenant.id, {
      at,
      eventType: type!,
      payload: payload!,
      key: `key-${name}`,
    });
    await rows.query('update event set delivery_count = 1 where id = $1', [event]);
    const id = uuidV7(at);
    await rows.query(
      `insert into delivery (id, tenant_id, event_id, subscription_id, event_type, status, next_attempt_at,
                             last_status_code, last_error, dead_at, cancelled_at, completed_at, created_at)
       select $1, $2, $3, $4, $5, $6, case when $6 in ('pending', 'retrying') then now() end, $7, $8,
              case when $6 = 'dead' then now() end, case when $6 = 'cancelled' then now() end,
              case when $6 not in ('pending', 'retrying') then now() end, $9`,
      [id, tenant.id, event, subscription, type, status, code || null, error || null, new Date(at)],
    );
    names.set(id, name!);
  }
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
});

it.each(codeBlocks(EXAMPLES).map(({ caption, code }) => ({ caption, code })))(
  '$caption',
  async ({ caption, code }) => {
    const { status, body, text } = await tenant.request('POST', '/webhooks/search', code);
    expect(status, text).toBe(200);
    const said = [
      ...caption
        .split('finds')
        .at(-1)!
        .matchAll(/`([a-f])`/g),
    ].map(([, name]) => name);
    const found = body.data.map(({ id }: { id: string }) => names.get(id));
    expect(said.length).toBeGreaterThan(0);
    expect(found.toSorted()).toEqual(said.toSorted());
    expect(found).toEqual(found.toSorted().reverse());
  },
);

it('answers as the page shows', async () => {
  const [, asked] = /^To `(.+)`:$/m.exec(ANSWER)!;
  const { body } = await tenant.request('POST', '/webhooks/search', asked);
  const shown = JSON.parse(codeBlocks(ANSWER)[0]!.code);
  expect(shapeOf(body)).toEqual(shapeOf(shown));
  expect(body.aggregations).toEqual(shown.aggregations);
  expect(body).toMatchObject({ is_complete: true, searched_to: shown.searched_to, previous_cursor: null });
});

/** Names and types, in their order. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  return Object.entries(value).map(([name, member]): unknown => [name, shapeOf(member)]);
}
