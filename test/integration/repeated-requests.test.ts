import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Config } from '../../src/config/config.js';
import { Database } from '../../src/persistence/database.js';
import {
  IdempotentRequestRepository,
  MAX_ANSWER_BYTES,
  MAX_KEPT_BYTES,
} from '../../src/persistence/repositories/idempotent-request.repository.js';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { type Holdings, makeOneOfEach } from '../support/holdings.js';
import { guardedOperations, keyed, kindOf, nameOf, type Operation, pathWith } from '../support/openapi.js';
import { type Answer, client, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';

/** What a client may do whose answer was lost: send the same again, with the same Idempotency-Key. */

const OTHER_OPERATOR = '7d31c0e59b84f26a-other';

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let rows: Rows;
let posts: Operation[];
let holdings: Holdings;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn({ env: { ADMIN_API_KEYS: `other=${OTHER_OPERATOR}` } });
  rows = new Rows(posthorn.databaseUrl);
  tenant = await posthorn.tenant();
  const operations = await guardedOperations(posthorn);
  posts = operations.filter(({ method }) => method === 'POST');
  const made = await makeOneOfEach(tenant, operations, { simulator, marker: 'marker', events: 3 });
  holdings = made.holdings.set('tenant', [tenant.id]);
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
  await simulator.close();
});

const becauseOf = ({ described }: Operation): unknown =>
  (described as unknown as Record<string, unknown>)['x-repeat-is-harmless-because'];
const takesKey = ({ described }: Operation): boolean =>
  (described.parameters ?? []).some(
    ({ name, in: place }) => name === 'Idempotency-Key' && place === 'header',
  );

/** Sends the documentation's example, to the first of our objects that it is accepted for. */
async function send(operation: Operation, key: string): Promise<{ path: string; answer: Answer }> {
  const sender = keyed(operation, posthorn, tenant);
  const candidates = operation.path.includes('{')
    ? holdings.get(kindOf(operation, /\{(\w+)\}/.exec(operation.path)![1]!))!
    : [''];
  let last: { path: string; answer: Answer } | undefined;
  for (const id of candidates) {
    const path = pathWith(operation, id);
    const answer = await sender.request('POST', path, exampleOf(operation), { 'idempotency-key': key });
    last = { path, answer };
    if (answer.status < 300) break;
  }
  return last!;
}

const exampleOf = ({ example }: Operation): Record<string, unknown> | undefined =>
  example && 'target_url' in example ? { ...example, target_url: `${simulator.url}/ok` } : example;

/** What is stored of everything that a request can make. */
const counts = async (): Promise<unknown> =>
  rows.query(
    `select (select count(*) from tenant) as tenants, (select count(*) from api_key) as keys,
            (select count(*) from subscription) as subscriptions, (select count(*) from source) as sources,
            (select count(*) from event) as events, (select count(*) from delivery) as deliveries`,
  );

/** As after the end of a process between what it did and the storing of its answer. */
const loseAnswers = () => rows.query('update idempotent_request set answer = null, leased_until = now()');

it('every POST with a key honours the header, or says why its repetition is harmless', () => {
  const unclear = posts.filter((operation) => !takesKey(operation) && becauseOf(operation) === undefined);
  expect(unclear.map(nameOf)).toEqual([]);
  const harmless = posts.filter((operation) => becauseOf(operation) !== undefined);
  expect(harmless.map(nameOf).sort()).toEqual([
    'POST /events',
    'POST /events/batch',
    'POST /webhooks/ingest/{subscription_id}',
    'POST /webhooks/search',
  ]);
});

describe('the same request with the same key', () => {
  it('is answered alike by every route, and does nothing again', async () => {
    const honouring = posts.filter((operation) => becauseOf(operation) === undefined);
    expect(honouring.length).toBeGreaterThan(10);
    for (const operation of honouring) {
      const key = randomUUID();
      const { path, answer: first } = await send(operation, key);
      expect(first.status, `${nameOf(operation)}: ${first.text}`).toBeLessThan(300);
      expect(first.headers).not.toHaveProperty('idempotency-replayed');
      const stored = await counts();
      const sender = keyed(operation, posthorn, tenant);
      const again = await sender.request('POST', path, exampleOf(operation), { 'idempotency-key': key });
      expect({ status: again.status, text: again.text }, nameOf(operation)).toEqual({
        status: first.status,
        text: first.text,
      });
      expect(again.headers).toMatchObject({
        'idempotency-replayed': 'true',
        'content-type': first.headers['content-type'],
      });
      expect(again.headers['location'], nameOf(operation)).toBe(first.headers['location']);
      expect(await counts(), nameOf(operation)).toEqual(stored);

      const other = await sender.request('POST', path, { other: 1 }, { 'idempotency-key': key });
      expect(other, nameOf(operation)).toMatchObject({
        status: 409,
        body: { code: 'idempotency_conflict' },
      });
    }
  });

  it('makes nothing a second time where the answer to the first was never stored', async () => {
    const making = posts.filter(
      (operation) => becauseOf(operation) === undefined && !/dlq|deliveries/.test(operation.path),
    );
    for (const operation of making) {
      const key = randomUUID();
      const { path, answer: first } = await send(operation, key);
      expect(first.status, `${nameOf(operation)}: ${first.text}`).toBeLessThan(300);
      const stored = await counts();
      await loseAnswers();
      const sender = keyed(operation, posthorn, tenant);
      const again = await sender.request('POST', path, exampleOf(operation), { 'idempotency-key': key });
      expect(again.status, nameOf(operation)).toBe(first.status);
      const { duplicate: _, ...told } = first.body;
      expect(again.body, nameOf(operation)).toMatchObject(told);
      expect(await counts(), nameOf(operation)).toEqual(stored);
    }
  });

  it('leaves one entry in the audit log', async () => {
    const key = { 'idempotency-key': randomUUID() };
    const body = { target_url: `${simulator.url}/ok`, description: 'audited once' };
    const first = await tenant.request('POST', '/subscriptions', body, key);
    const again = await tenant.request('POST', '/subscriptions', body, key);
    expect(again.headers).toHaveProperty('idempotency-replayed');
    await tenant.request('POST', '/subscriptions', { ...body, description: 'another' }, key);
    const entries = await rows.query(
      `select result, object_id from audit_log
       where tenant_id = $1 and action = 'subscription.create' and request_id = any($2) order by id`,
      [tenant.id, [first, again].map(({ headers }) => headers['x-request-id'])],
    );
    expect(entries).toEqual([{ result: 'ok', object_id: first.body.id }]);
  });

  it('makes one where the answer cannot be stored, whatever is sent meanwhile', async () => {
    const key = { 'idempotency-key': randomUUID() };
    const body = { target_url: `${simulator.url}/ok`, description: 'once' };
    await rows.query(
      `create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end';
       create trigger refuse before update of answer on idempotent_request for each row execute function refuse()`,
    );
    const first = await tenant.request('POST', '/subscriptions', body, key);
    expect(first.status).toBe(201);
    const soon = await tenant.request('POST', '/subscriptions', body, key);
    expect(soon).toMatchObject({ status: 409, body: { code: 'request_in_progress' } });
    expect(soon.headers['retry-after']).toBe('1');
    await rows.query('drop function refuse() cascade');
    await loseAnswers();
    const later = await tenant.request('POST', '/subscriptions', body, key);
    expect(later.text).toBe(first.text);
    const found = await rows.query(`select id from subscription where description = 'once'`);
    expect(found).toEqual([{ id: first.body.id }]);
  });

  it('makes one when many come at once', async () => {
    const key = { 'idempotency-key': randomUUID() };
    const body = { target_url: `${simulator.url}/ok`, description: 'at once' };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => tenant.request('POST', '/subscriptions', body, key)),
    );
    const made = answers.filter(({ status }) => status === 201);
    expect(made.length).toBeGreaterThan(0);
    expect(new Set(made.map(({ text }) => text)).size).toBe(1);
    for (const { status, body: problem } of answers) {
      if (status !== 201) expect([status, problem.code]).toEqual([409, 'request_in_progress']);
    }
    expect(await rows.query(`select id from subscription where description = 'at once'`)).toHaveLength(1);
  });
});

describe('a key', () => {
  const KEY = { 'idempotency-key': 'the key of a subscription' };
  const create = (from: Pick<TestTenant, 'request'>, fields = {}, headers: Record<string, string> = KEY) =>
    from.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok`, ...fields }, headers);

  it('is free again after a refusal, which did nothing', async () => {
    const key = { 'idempotency-key': randomUUID() };
    expect((await create(tenant, { timeout_ms: 1 }, key)).status).toBe(422);
    expect((await create(tenant, { timeout_ms: 1_000 }, key)).status).toBe(201);
  });

  it('stays with its request when a later attempt is refused: an earlier one may have done it', async () => {
    const { body } = await create(tenant, {}, {});
    const key = { 'idempotency-key': randomUUID() };
    const rotate = (fields: object) =>
      tenant.request('POST', `/subscriptions/${body.id}/rotate-secret`, fields, key);
    expect((await rotate({})).status).toBe(200);
    await loseAnswers();
    await tenant.request('DELETE', `/subscriptions/${body.id}`);
    expect((await rotate({})).status).toBe(404);
    expect(await rotate({ overlap_seconds: 1 })).toMatchObject({
      status: 409,
      body: { code: 'idempotency_conflict' },
    });
  });

  it('that another attempt frees between our statements is used, and is not one too many', async () => {
    const database = posthorn.app.get(Database, { strict: false });
    const config = posthorn.app.get(Config, { strict: false });
    const requests = new IdempotentRequestRepository(database, config);
    const request = { tenantId: tenant.id, key: randomUUID(), fingerprint: Buffer.from('a') };
    const other = await requests.begin(request);
    if (other.kind !== 'begun') throw new Error(other.kind);
    let statements = 0;
    const racing = {
      run: async (statement: string, values: unknown[]) => {
        const found = await database.run(statement, values);
        if (++statements === 1) await requests.forget(other.attempt);
        return found;
      },
    } as unknown as Database;
    expect(await new IdempotentRequestRepository(racing, config).begin(request)).toMatchObject({
      kind: 'begun',
      attempt: { number: 1 },
    });
  });

  it('is one of its tenant, of its path, and of the API key that it was sent with', async () => {
    const stranger = await posthorn.tenant();
    const [own, theirs] = [await create(tenant), await create(stranger)];
    expect([own.status, theirs.status]).toEqual([201, 201]);
    expect(theirs.body.id).not.toBe(own.body.id);
    const elsewhere = await tenant.request('POST', '/api-keys', { name: 'a', scopes: ['read'] }, KEY);
    expect(elsewhere).toMatchObject({ status: 409, body: { code: 'idempotency_conflict' } });
    const { body: second } = await tenant.request('POST', '/api-keys', { name: 'b', scopes: ['admin'] });
    const other = await create(client(posthorn.url, second.api_key));
    expect(other).toMatchObject({ status: 409, body: { code: 'idempotency_conflict' } });
  });

  it.each(['', 'x'.repeat(257), 'a\u0085b'])('%j is refused', async (key) => {
    const answer = await create(tenant, {}, { 'idempotency-key': key });
    expect(answer).toMatchObject({ status: 422, body: { code: 'invalid_request' } });
    expect(answer.body.errors[0].path).toBe('Idempotency-Key');
  });

  it.each(['GET', 'PATCH', 'PUT', 'DELETE'])('means nothing to %s', async (method) => {
    const { body } = await create(tenant, {}, {});
    const fields =
      method === 'GET' || method === 'DELETE' ? undefined : { target_url: `${simulator.url}/ok` };
    const key = { 'idempotency-key': 'x'.repeat(300) };
    const answer = await tenant.request(method, `/subscriptions/${body.id}`, fields, key);
    expect(answer.status).toBeLessThan(300);
  });

  it('is forgotten after 24 hours, to the second, and used anew', async () => {
    const key = { 'idempotency-key': randomUUID() };
    const first = await create(tenant, {}, key);
    const age = (interval: string) =>
      rows.query(`update idempotent_request set created_at = now() - $2::interval where key = $1`, [
        key['idempotency-key'],
        interval,
      ]);
    await age('23 hours 59 minutes');
    expect((await create(tenant, {}, key)).body.id).toBe(first.body.id);
    await age('24 hours 1 second');
    const anew = await create(tenant, { description: 'another body' }, key);
    expect(anew.status).toBe(201);
    expect(anew.body.id).not.toBe(first.body.id);
  });

  it('is one of 10,000 at the most; those that are there are answered still', async () => {
    const crowded = await posthorn.tenant();
    const first = await create(crowded);
    await rows.query(
      `insert into idempotent_request (id, tenant_id, key, fingerprint, seed, leased_until, created_at)
       select gen_random_uuid(), $1, 'key ' || n, '', '', now(), now() from generate_series(1, 9999) n`,
      [crowded.id],
    );
    const oneMore = { 'idempotency-key': 'one more' };
    const refused = await create(crowded, {}, oneMore);
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect((await create(crowded)).text).toBe(first.text);
    const expire = (name: string) =>
      rows.query(
        `update idempotent_request set created_at = now() - interval '25 hours' where tenant_id = $1 and key = $2`,
        [crowded.id, name],
      );
    // The purge has not come by yet.
    await expire('key 1');
    expect((await create(crowded, {}, oneMore)).status).toBe(201);
    await expire('key 2');
    expect((await create(crowded, {}, { 'idempotency-key': 'key 2' })).status).toBe(201);
    expect((await create(crowded, {}, { 'idempotency-key': 'key 1' })).status).toBe(429);
    expect((await create(crowded, {}, {})).status).toBe(201);
    expect((await create(tenant, {}, { 'idempotency-key': randomUUID() })).status).toBe(201);
  });

  it('of one operator gives another one nothing that the first was shown', async () => {
    const key = { 'idempotency-key': randomUUID() };
    const body = { name: 'made by one operator' };
    const first = await posthorn.admin.request('POST', '/tenants', body, key);
    expect(first.status).toBe(201);
    const other = await client(posthorn.url, OTHER_OPERATOR).request('POST', '/tenants', body, key);
    expect(other).toMatchObject({ status: 409, body: { code: 'idempotency_conflict' } });
    expect(other.text).not.toContain(first.body.api_key);
    const again = await posthorn.admin.request('POST', '/tenants', body, key);
    expect(again.text).toBe(first.text);
  });

  it.each([
    ['a slash at the end', (path: string) => `${path}/`],
    ['percent-encoding', (path: string) => path.replace('rotate', '%72otate')],
    ['an id in capitals', (path: string) => path.replace(/[0-9a-f-]{36}/, (id) => id.toUpperCase())],
    ['an empty query', (path: string) => `${path}?`],
  ])('is that of the same request with %s', async (_, alias) => {
    const { body } = await create(tenant, {}, {});
    const path = `/subscriptions/${body.id}/rotate-secret`;
    const key = { 'idempotency-key': randomUUID() };
    const first = await tenant.request('POST', path, {}, key);
    expect(first.status).toBe(200);
    const again = await tenant.request('POST', alias(path), {}, key);
    expect({ text: again.text, replayed: again.headers['idempotency-replayed'] }).toEqual({
      text: first.text,
      replayed: 'true',
    });
  });

  it.each([
    ['/subscriptions', ['a', 'b']],
    ['/subscriptions', ['a', 'a']],
    ['/events', ['a', 'b']],
  ])('to %s is refused when the header comes twice, as %j', async (path, keys) => {
    const answer = await tenant.request('POST', path, {}, { 'idempotency-key': keys as unknown as string });
    expect(answer).toMatchObject({ status: 400, body: { code: 'malformed_request' } });
    expect(answer.body.detail).toContain('Idempotency-Key more than once');
  });

  it('keeps no secret in plain text', async () => {
    const { body } = await create(tenant, {}, { 'idempotency-key': 'with a secret' });
    const [row] = await rows.query<{ text: string }>(
      `select r::text as text from idempotent_request r where key = 'with a secret'`,
    );
    expect(row!.text).not.toContain(body.secret);
    expect(row!.text).not.toContain(body.id);
  });
});

describe('kept answers', () => {
  const keptOf = (tenantId: string) =>
    rows.query<{ key: string; bytes: number | null }>(
      `select key, octet_length(answer) as bytes from idempotent_request where tenant_id = $1
       order by created_at, id`,
      [tenantId],
    );

  it('take a bounded number of bytes of a tenant: the oldest make way, and are not carried out again', async () => {
    const crowded = await posthorn.tenant();
    const body = { target_url: `${simulator.url}/ok` };
    const oldest = { 'idempotency-key': 'oldest' };
    expect((await crowded.request('POST', '/subscriptions', body, oldest)).status).toBe(201);
    await rows.query(
      `insert into idempotent_request (id, tenant_id, key, fingerprint, seed, leased_until, created_at, answer)
       select gen_random_uuid(), $1, 'key ' || n, '', '', now(), now(), repeat('x', $2)
       from generate_series(1, $3::int) n`,
      [crowded.id, MAX_ANSWER_BYTES, MAX_KEPT_BYTES / MAX_ANSWER_BYTES],
    );
    const newest = { 'idempotency-key': 'newest' };
    const made = await crowded.request('POST', '/subscriptions', body, newest);
    const kept = await keptOf(crowded.id);
    const bytes = kept.reduce((sum, row) => sum + (row.bytes ?? 0), 0);
    expect(bytes).toBeLessThanOrEqual(MAX_KEPT_BYTES);
    // Not one more than had to.
    expect(bytes + MAX_ANSWER_BYTES).toBeGreaterThan(MAX_KEPT_BYTES);
    expect(kept.slice(0, 3).map((row) => row.bytes)).toEqual([null, null, MAX_ANSWER_BYTES]);

    expect((await crowded.request('POST', '/subscriptions', body, newest)).text).toBe(made.text);
    const stored = await counts();
    const again = await crowded.request('POST', '/subscriptions', body, oldest);
    expect(again).toMatchObject({ status: 409, body: { code: 'answer_not_kept' } });
    expect(await counts()).toEqual(stored);
  });

  it('have room for the longest answer, and not for a longer one', async () => {
    const longest = {
      target_url: `${simulator.url}/${'a'.repeat(2_000)}`,
      event_types: Array.from({ length: 100 }, (_, index) => `${index}${'a'.repeat(250)}`),
      description: '\u{1f4ef}'.repeat(500),
      headers: { 'x-quotes': '"'.repeat(4_000), 'x-more': '"'.repeat(4_000) },
      // Each quotation mark is escaped twice.
      metadata: { quotes: '"'.repeat(8_000) },
    };
    const key = { 'idempotency-key': randomUUID() };
    const made = await tenant.request('POST', '/subscriptions', longest, key);
    expect(made.status, made.text.slice(0, 500)).toBe(201);
    const sizes = new Map((await keptOf(tenant.id)).map((row) => [row.key, row.bytes]));
    expect(sizes.get(key['idempotency-key'])).toBeLessThan(MAX_ANSWER_BYTES / 2);

    const requests = new IdempotentRequestRepository(
      posthorn.app.get(Database, { strict: false }),
      posthorn.app.get(Config, { strict: false }),
    );
    const request = { tenantId: tenant.id, key: randomUUID(), fingerprint: Buffer.from('a') };
    const begun = await requests.begin(request);
    if (begun.kind !== 'begun') throw new Error(begun.kind);
    await requests.keep(begun.attempt, { status: 201, location: null, body: 'x'.repeat(MAX_ANSWER_BYTES) });
    expect(await requests.begin(request)).toEqual({ kind: 'answer dropped' });
  });
});
