import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SearchService } from '../../src/status/search.service.js';
import { type Answer, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';

/** The worst payloads that a tenant can have searched cost a search its second, and the others nothing. */

const MIB = 1_048_576;
const filled = (unit: string, before: string, behind: string): string =>
  before + unit.repeat(Math.floor((MIB - before.length - behind.length) / unit.length)) + behind;
const list = (unit: string): string => filled(`${unit},`, '[', `${unit}]`);

/** What is slow to parse, large to build, or fails at its end. */
const WORST: Record<string, string> = {
  'NUL, which text cannot hold': filled(String.raw`\u0000`, '{"a":"', '","id":1}'),
  'halves of surrogate pairs': filled(String.raw`\uD800`, '{"a":"', '","id":1}'),
  'escaped backslashes and a NUL': filled('\\\\', String.raw`{"a":"\u0000`, '","id":1}'),
  'small numbers': list('1'),
  'large numbers': list(`1${'0'.repeat(131_000)}`),
  exponents: list('1e131071'),
  'empty objects': list('{}'),
  'one name again and again': filled('"":0,', '{', '"id":1}'),
  'many names': `{${Array.from({ length: 90_000 }, (_, n) => `"${n.toString(36)}":1`).join(',')},"id":1}`,
  'more depth than there is stack': '['.repeat(MIB),
  'an error at the very end': filled('1,', '[', String.raw`\u0000`),
};
const FIVE = ['id', 'b', 'c.d', '0.e', 'f.0'].map((path) => ({ path, equals: 1 }));
const SEARCH = { payload: FIVE, limit: 1 };

let posthorn: Posthorn;
let rows: Rows;
let watching: pg.Client;

beforeAll(async () => {
  // No worker: nothing but requests is measured.
  posthorn = await startPosthorn({ env: { ROLE: 'api', REDIS_URL: (await freshRedis()).url } });
  rows = new Rows(posthorn.databaseUrl);
  watching = new pg.Client({ connectionString: posthorn.databaseUrl });
  await watching.connect();
});
afterAll(async () => {
  await watching.end();
  await rows.end();
  await posthorn.stop();
});

async function tenantWith(payloads: string[]): Promise<TestTenant> {
  const tenant = await posthorn.tenant();
  const subscription = await rows.subscription(tenant.id);
  for (const payload of payloads) {
    const event = await rows.event(tenant.id, { payload, deliveryCount: 1 });
    await rows.delivery(tenant.id, event, subscription, { status: 'dead' });
  }
  return tenant;
}

const search = (tenant: TestTenant, query: object): Promise<Answer> =>
  tenant.request('POST', '/webhooks/search', query);

async function running(): Promise<number> {
  const { rows: found } = await watching.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and application_name = 'posthorn reads' and state <> 'idle'`,
  );
  return found[0]!.count;
}

describe('a search', () => {
  it.each(Object.entries(WORST))(
    'looks into one payload of %s a step, and finds what is behind',
    async (_, payload) => {
      const sought = JSON.stringify({ id: 1, b: 1, c: { d: 1 }, f: [1], 0: { e: 1 } });
      const tenant = await tenantWith([sought, payload, payload, payload, payload]);
      const { limits } = posthorn.app.get(SearchService, { strict: false });
      const usual = { ...limits };
      // A page is one step.
      Object.assign(limits, { stepsMs: 0, countBudgetMs: 0, budgetMs: 30_000 });
      try {
        const pages: number[] = [];
        for (let cursor: string | null | undefined; cursor !== null;) {
          const { status, body } = await search(tenant, {
            ...SEARCH,
            ...(cursor !== undefined && { cursor }),
          });
          expect(status).toBe(200);
          expect(await running()).toBe(0);
          pages.push(body.data.length as number);
          cursor = body.next_cursor as string | null;
        }
        expect(pages.reduce((sum, count) => sum + count, 0)).toBe(1);
        expect(pages.length).toBeGreaterThanOrEqual(4);
      } finally {
        Object.assign(limits, usual);
      }
    },
  );
});

describe('twelve searches of four tenants', () => {
  const REQUESTS = 200;
  const p99 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.ceil(times.length * 0.99) - 1]!;

  it('leave ingest of another tenant within three times its quiet p99, and the process ready', async () => {
    const hostile = await Promise.all(Array.from({ length: 4 }, () => tenantWith(Object.values(WORST))));
    const other = await posthorn.tenant();
    const ingest = async (): Promise<number> => {
      const times: number[] = [];
      for (let count = 0; count < REQUESTS; count++) {
        const startedAt = performance.now();
        const { status } = await other.request('POST', '/events', { event_type: 'a', payload: { count } });
        times.push(performance.now() - startedAt);
        expect(status).toBe(202);
        if (count % 20 === 0) expect((await posthorn.anonymous.request('GET', '/ready')).status).toBe(200);
      }
      return p99(times);
    };
    await ingest();
    const ratios: number[] = [];
    // What else the machine does may fall into the busy part of a round; into those of all three it does not.
    while (ratios.length < 3 && !ratios.some((ratio) => ratio <= 3)) {
      const quiet = await ingest();
      const attack = { over: false };
      let answered = 0;
      const attackers = hostile.flatMap((tenant) =>
        Array.from({ length: 3 }, async () => {
          while (!attack.over) {
            const { status } = await search(tenant, SEARCH);
            expect([200, 503]).toContain(status);
            answered++;
          }
        }),
      );
      const busy = await ingest();
      attack.over = true;
      await Promise.all(attackers);
      expect(answered).toBeGreaterThan(0);
      ratios.push(busy / quiet);
    }
    expect(Math.min(...ratios), `${ratios.join(', ')} times as long`).toBeLessThanOrEqual(3);
  });
});
