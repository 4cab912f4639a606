import { request } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CleanupService } from '../../src/cleanup/cleanup.service.js';
import { Lane } from '../../src/delivery/lane.js';
import { GonePolicy } from '../../src/delivery/policies/gone.policy.js';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { createDataSource } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import {
  AuditFilter,
  AuditRepository,
  AuditRow,
} from '../../src/persistence/repositories/audit.repository.js';
import { SubscriptionCache } from '../../src/persistence/subscription-cache.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { harmless, makeOneOfEach } from '../support/holdings.js';
import {
  bodySchema,
  guardedOperations,
  hasParameter,
  keyed,
  kindOf,
  nameOf,
  Operation,
  pathWith,
} from '../support/openapi.js';
import { freshMetrics } from '../support/metrics.js';
import { openExplained } from '../support/plans.js';
import { Answer, client, Client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const DAY = 86_400_000;
/** Where nobody listens. */
const TARGET = 'http://127.0.0.1:60009/';

let posthorn: Posthorn;
let simulator: Simulator;
let rows: Rows;
let tenant: TestTenant;
let requests = 0;

beforeAll(async () => {
  [posthorn, simulator] = await Promise.all([
    startPosthorn({
      env: { AUDIT_RETENTION_DAYS: '7', TENANT_RATE_LIMIT: '100000', TENANT_RATE_BURST: '100000' },
    }),
    startSimulator(),
  ]);
  rows = new Rows(posthorn.databaseUrl);
  tenant = await posthorn.tenant();
});
afterAll(async () => {
  await rows.end();
  await Promise.all([posthorn.stop(), simulator.close()]);
});
afterEach(async () => {
  await rows.query('drop trigger if exists refuse on audit_log');
});

/** What the audit log says of a request, as it is stored. */
const entriesOf = (requestId: string) =>
  rows.query<AuditRow>('select * from audit_log where request_id = $1', [requestId]);
const entriesAbout = (objectId: string) =>
  rows.query<AuditRow>('select * from audit_log where object_id = $1 order by id', [objectId]);

/** Sends a request under an id of its own, and says what it left. */
async function send(
  by: Client,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ answer: Answer; entries: AuditRow[]; requestId: string }> {
  const requestId = `audit-${++requests}`;
  const answer = await by.request(method, path, body, { 'x-request-id': requestId, ...headers });
  return { answer, entries: await entriesOf(requestId), requestId };
}

async function newSubscription(by: Client = tenant): Promise<string> {
  const { status, text, body } = await by.request('POST', '/subscriptions', { target_url: TARGET });
  expect(status, text).toBe(201);
  return body.id as string;
}

async function keyWith(...scopes: string[]): Promise<Client & { id: string }> {
  const { body } = await tenant.request('POST', '/api-keys', { name: `can ${scopes.join()}`, scopes });
  return { id: body.id, ...client(posthorn.url, body.api_key) };
}

/** From now on the database refuses to do this to the audit log. */
async function refuse(change: 'insert' | 'update'): Promise<void> {
  await rows.query(`
    create or replace function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
    create trigger refuse before ${change} on audit_log for each row execute function refuse()`);
}

describe('every route of the documentation that is not for looking', () => {
  const MARKER = 'marker-of-a-value';
  const AGENT = `walk/${'1'.repeat(300)}`;
  /** Handing in what Posthorn is there to deliver, and looking with a body. */
  const NO_CHANGES = [
    'POST /events',
    'POST /events/batch',
    'POST /webhooks/ingest/{subscription_id}',
    'POST /webhooks/search',
  ];

  let operations: Operation[];
  let holdings: Map<string, string[]>;
  let secrets: string[];
  let walker: TestTenant;
  let walked: {
    operation: Operation;
    path: string;
    answer: Answer;
    entries: AuditRow[];
    requestId: string;
  }[];

  beforeAll(async () => {
    walker = await posthorn.tenant(MARKER);
    operations = await guardedOperations(posthorn);
    ({ holdings, secrets } = await makeOneOfEach(walker, operations, {
      simulator,
      marker: MARKER,
      events: 4,
    }));
    // Not the one that it walks with.
    const spare = async (): Promise<string> =>
      (await walker.request('POST', '/api-keys', { name: 'spare', scopes: ['read'] })).body.id;
    holdings.set('api_key', [await spare(), await spare()]);
    walked = [];
    for (const operation of operations.filter(isAudited).toSorted(byHarm)) await walk(operation);
  });

  async function walk(operation: Operation): Promise<void> {
    const path = pathWith(operation, (parameter) => idFor(kindOf(operation, parameter), operation));
    const body = operation.example && harmless(operation.example, simulator.url, MARKER);
    const by = keyed(operation, posthorn, walker);
    const sent = await send(by, operation.method, path, body, { 'user-agent': AGENT });
    for (const [secret] of sent.answer.text.matchAll(/(?:whsec|ph)_[\w+/=-]{24,}/g)) secrets.push(secret);
    walked.push({ operation, path, ...sent });
  }

  /** Dead letters one after the other: what was ended cannot be ended again. They are deliveries as well. */
  function idFor(kind: string, { method }: Operation): string {
    if (kind === 'tenant') return walker.id;
    const ids = holdings.get(kind)!;
    if (kind === 'api_key' && method === 'DELETE') return ids.pop()!;
    return (kind === 'dlq' ? ids.shift() : ids.at(-1))!;
  }

  const isAudited = ({ described }: Operation) => 'x-audit-action' in described;
  const byHarm = (one: Operation, other: Operation) => harmOf(one) - harmOf(other);
  /** What belongs to something goes before it does. */
  const harmOf = ({ isAdmin, method, path }: Operation) =>
    -path.length / 1_000 +
    (isAdmin ? 4 : 0) +
    (method === 'DELETE' ? 2 : 0) +
    (/^\/dlq\/\w+$/.test(path) ? 1 : 0);

  it('says what it is called in the audit log, but for handing in events and searching', () => {
    const silent = operations
      .filter(({ method }) => method !== 'GET')
      .filter((operation) => !isAudited(operation));
    expect(silent.map(nameOf).toSorted()).toEqual(NO_CHANGES);
  });

  it('leaves one entry that says who, what, from where, and how it ended', () => {
    const refused = walked
      .filter(({ answer }) => answer.status >= 300)
      .map(({ operation }) => nameOf(operation));
    // A delivery that was retried may have failed again by then.
    expect(refused.filter((name) => name !== 'POST /deliveries/{id}/cancel')).toEqual([]);
    for (const { operation, path, answer, entries, requestId } of walked) {
      const action = (operation.described as { 'x-audit-action'?: string })['x-audit-action']!;
      const isCreation = action.endsWith('.create');
      const idInPath = hasParameter(operation) ? path.match(/[0-9a-f-]{36}/g)!.at(-1) : null;
      const schema = bodySchema(operation);
      expect(entries, nameOf(operation)).toEqual([
        {
          id: expect.any(String),
          at: expect.any(Date),
          tenant_id: action === 'tenant.create' ? answer.body.id : walker.id,
          actor_kind: operation.isAdmin ? 'operator' : 'api_key',
          actor_id: operation.isAdmin ? null : expect.any(String),
          actor_name: operation.isAdmin ? 'admin' : 'first key',
          action,
          object_type: action.replace(/s?\..*/, ''),
          object_id: isCreation ? answer.body.id : idInPath,
          new_id: isCreation || answer.body?.id === idInPath ? null : (answer.body?.id ?? null),
          fields: schema ? Object.keys(operation.example ?? {}) : [],
          status_code: answer.status,
          result: answer.status < 300 ? 'ok' : answer.body.code,
          ip: '127.0.0.1',
          user_agent: AGENT.slice(0, 256),
          request_id: requestId,
        },
      ]);
    }
  });

  it('is called by names that are its own', () => {
    const names = walked.map(({ operation, entries }) => [nameOf(operation), entries[0]?.action]);
    expect(Object.fromEntries(names)).toMatchObject({
      'POST /subscriptions': 'subscription.create',
      'PUT /subscriptions/{id}': 'subscription.replace',
      'PATCH /subscriptions/{id}': 'subscription.change',
      'DELETE /subscriptions/{id}': 'subscription.delete',
      'GET /subscriptions/{id}/secret': 'subscription.read_secret',
      'POST /subscriptions/{id}/rotate-secret': 'subscription.rotate_secret',
      'POST /subscriptions/{id}/verify': 'subscription.verify',
      'POST /subscriptions/{id}/test': 'subscription.test',
      'POST /deliveries/{id}/retry': 'delivery.retry',
      'POST /deliveries/{id}/cancel': 'delivery.cancel',
      'POST /dlq/{id}/retry': 'dead_letter.retry',
      'DELETE /dlq/{id}': 'dead_letter.discard',
      'POST /dlq/retry': 'dead_letters.retry',
      'POST /dlq/discard': 'dead_letters.discard',
      'POST /api-keys': 'api_key.create',
      'POST /api-keys/{id}/rotate': 'api_key.rotate',
      'DELETE /api-keys/{id}': 'api_key.revoke',
      'POST /tenants': 'tenant.create',
      'PATCH /tenants/{id}': 'tenant.change',
      'DELETE /tenants/{id}': 'tenant.delete',
      'POST /tenants/{id}/api-keys': 'api_key.create',
    });
  });

  it('leaves no value and no secret in the audit log', async () => {
    const log = JSON.stringify(await rows.query('select * from audit_log'));
    expect(secrets.length).toBeGreaterThan(5);
    expect([MARKER, simulator.url, ...secrets].filter((value) => log.includes(value))).toEqual([]);
  });
});

describe('a request that is refused', () => {
  it.each([
    [
      'of a key without the scope',
      ['read'],
      'POST',
      '/subscriptions',
      { target_url: TARGET },
      'insufficient_scope',
    ],
    [
      'by the checks of its fields',
      ['admin'],
      'POST',
      '/subscriptions',
      { target_url: 1 },
      'invalid_request',
    ],
    ['because it is not JSON', ['admin'], 'POST', '/subscriptions', '{', 'malformed_json'],
    ['for want of its object', ['admin'], 'DELETE', `/subscriptions/${uuidV7(0)}`, undefined, 'not_found'],
    ['because only the operator may', ['admin'], 'POST', '/tenants', { name: 'x' }, 'forbidden'],
  ])('%s leaves one entry with that result', async (_, scopes, method, path, body, code) => {
    const key = await keyWith(...scopes);
    const { answer, entries } = await send(key, method, path, body);

    expect(answer.body).toMatchObject({ code });
    expect(entries).toMatchObject([
      {
        tenant_id: tenant.id,
        actor_id: key.id,
        actor_name: `can ${scopes.join()}`,
        status_code: answer.status,
        result: code,
      },
    ]);
  });

  it.each([
    ['because its tenant is suspended', { suspended: true }, 'tenant_suspended'],
    ['for where it comes from', { allowed_ips: ['192.0.2.0/24'] }, 'ip_not_allowed'],
  ])('%s leaves one entry with that result', async (_, change, code) => {
    const shut = await posthorn.tenant();
    await posthorn.admin.request('PATCH', `/tenants/${shut.id}`, change);
    const { entries } = await send(shut, 'POST', '/subscriptions', { target_url: TARGET });
    expect(entries).toMatchObject([{ tenant_id: shut.id, result: code, status_code: 403, fields: [] }]);
  });

  it('leaves none for a rate limit: there would be a flood of them', async () => {
    const hasty = await posthorn.tenant();
    const rate_limit = { per_second: 0.01, burst: 1 };
    await posthorn.admin.request('PATCH', `/tenants/${hasty.id}`, { rate_limit });
    await hasty.request('GET', '/subscriptions');
    const { answer, entries } = await send(hasty, 'POST', '/subscriptions', { target_url: TARGET });
    expect(answer.body).toMatchObject({ code: 'rate_limited' });
    expect(entries).toEqual([]);
  });

  it("leaves one when it is the operator's, on a route for tenants", async () => {
    const { entries } = await send(posthorn.admin, 'POST', '/subscriptions', { target_url: TARGET });
    expect(entries).toMatchObject([{ tenant_id: null, actor_kind: 'operator', result: 'forbidden' }]);
  });

  it.each([
    ['without a key', () => posthorn.anonymous],
    ['with a key that is nobody’s', () => client(posthorn.url, 'ph_nobody')],
  ])('leaves none %s: nobody did it, and is counted', async (_, who) => {
    const counted = async () => {
      const text = await freshMetrics(posthorn.anonymous);
      return Number(/^webhook_auth_failures_total (\d+)$/m.exec(text)![1]);
    };
    const before = await counted();
    const { answer, entries } = await send(who(), 'POST', '/subscriptions', { target_url: TARGET });
    expect(answer.status).toBe(401);
    expect(entries).toEqual([]);
    expect(await counted()).toBe(before + 1);
  });

  it('leaves no more than 60 entries a minute of one key, and keeps no other from leaving its own', async () => {
    const key = await keyWith('read');
    for (let index = 0; index < 70; index++) await key.request('DELETE', `/subscriptions/${uuidV7(index)}`);
    const left = () => rows.query('select 1 from audit_log where actor_id = $1', [key.id]);
    expect(await left()).toHaveLength(60);

    const other = await send(await keyWith('read'), 'POST', '/subscriptions', {});
    expect(other.entries).toHaveLength(1);
    expect((await send(tenant, 'POST', '/subscriptions', { target_url: TARGET })).entries).toHaveLength(1);
  });
});

describe('an entry', () => {
  it('is there before the change is made', async () => {
    const id = await newSubscription();
    const blocker = await blocking('select 1 from subscription where id = $1 for update', [id]);
    const changing = send(tenant, 'PATCH', `/subscriptions/${id}`, { description: 'later' });
    const changes = async () =>
      (await entriesAbout(id)).filter(({ action }) => action === 'subscription.change');
    await waitFor(async () => (await changes()).length === 1, { what: 'the entry' });
    expect(await changes()).toMatchObject([{ result: 'begun', status_code: null, fields: ['description'] }]);

    await blocker.release();
    expect((await changing).entries).toMatchObject([{ result: 'ok', status_code: 200 }]);
  });

  it('goes on saying that it was begun when it cannot be completed, and the caller has the answer', async () => {
    await refuse('update');
    const { answer, entries } = await send(tenant, 'POST', '/subscriptions', { target_url: TARGET });

    expect(answer.status).toBe(201);
    expect(entries).toMatchObject([{ result: 'begun', status_code: null, object_id: null }]);
  });

  it('that cannot be written keeps the change from being made', async () => {
    const id = await newSubscription();
    await refuse('insert');
    const deleting = await send(tenant, 'DELETE', `/subscriptions/${id}`);
    const creating = await send(posthorn.admin, 'POST', '/tenants', { name: 'unseen' });
    const reading = await send(tenant, 'GET', `/subscriptions/${id}/secret`);

    for (const { answer } of [deleting, creating, reading]) {
      expect(answer).toMatchObject({
        status: 503,
        body: { code: 'unavailable' },
        headers: { 'retry-after': '1' },
      });
      expect(answer.text).not.toContain('whsec_');
    }
    expect((await tenant.request('GET', `/subscriptions/${id}`)).status).toBe(200);
    expect(await rows.query(`select 1 from tenant where name = 'unseen'`)).toEqual([]);
  });

  it('does not keep events from being taken in', async () => {
    await refuse('insert');
    const event = { event_type: 'order.paid', payload: {} };
    const { answer, entries } = await send(tenant, 'POST', '/events', event);
    expect(answer.status).toBe(202);
    expect(entries).toEqual([]);
  });

  it('is completed when the caller has gone', async () => {
    const id = await newSubscription();
    const blocker = await blocking('select 1 from subscription where id = $1 for update', [id]);
    const leaving = new AbortController();
    const gone = request(`${posthorn.url}/api/v1/subscriptions/${id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${tenant.apiKey}` },
      signal: leaving.signal,
    }).catch(() => 'gone');
    await waitFor(async () => (await entriesAbout(id)).length === 2, { what: 'the entry' });
    leaving.abort();
    expect(await gone).toBe('gone');

    await blocker.release();
    await waitFor(async () => (await entriesAbout(id))[1]?.result === 'ok', { what: 'the end of it' });
  });

  it('outlives its object', async () => {
    const id = await newSubscription();
    await tenant.request('PATCH', `/subscriptions/${id}`, { description: 'short-lived' });
    await tenant.request('DELETE', `/subscriptions/${id}`);

    const { body } = await tenant.request('GET', `/audit?object_id=${id}`);
    expect(body.data.map(({ action }: AuditRow) => action)).toEqual([
      'subscription.delete',
      'subscription.change',
      'subscription.create',
    ]);
  });

  it('names the key and what came of its rotation, after both are gone', async () => {
    const key = await keyWith('admin');
    const { body: rotated } = await key.request('POST', `/api-keys/${key.id}/rotate`, {
      overlap_seconds: 60,
    });
    for (const id of [key.id, rotated.id]) await tenant.request('DELETE', `/api-keys/${id}`);

    const { body } = await tenant.request('GET', `/audit?object_id=${rotated.id}`);
    expect(body.data).toMatchObject([
      { action: 'api_key.revoke', object_id: rotated.id },
      {
        action: 'api_key.rotate',
        object_id: key.id,
        new_id: rotated.id,
        actor_id: key.id,
        actor_name: 'can admin',
      },
    ]);
  });

  it('takes nothing as it comes', async () => {
    const odd = { description: 'x', 'a\u0000b': 1, Ünwanted: 1, whsec_AAAA: 1, ['x'.repeat(100)]: 1 };
    const headers = { 'user-agent': 'caf\u00e9\ttab', 'x-forwarded-for': '192.0.2.1' };
    const { entries } = await send(tenant, 'PATCH', '/subscriptions/%00%0a', odd, headers);
    expect(entries).toMatchObject([
      {
        object_id: null,
        fields: ['description', '?'],
        user_agent: 'caf??tab',
        ip: '127.0.0.1',
        // The path comes before the body.
        result: 'not_found',
      },
    ]);
    const { entries: others } = await send(tenant, 'PATCH', '/subscriptions/%00%0a', { description: 'x' });
    expect(others).toMatchObject([{ object_id: null, fields: ['description'], result: 'not_found' }]);
  });

  it('is left by each of 100 changes at once', async () => {
    const busy = await posthorn.tenant();
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => busy.request('POST', '/subscriptions', { target_url: TARGET })),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));

    const made = answers.map(({ body }) => body.id as string).toSorted();
    const entries = await rows.query<AuditRow>(
      `select * from audit_log where tenant_id = $1 and action = 'subscription.create'`,
      [busy.id],
    );
    expect(entries.map(({ object_id }) => object_id!).toSorted()).toEqual(made);
    expect(new Set(entries.map(({ result }) => result))).toEqual(new Set(['ok']));
  });
});

describe('GET /audit', () => {
  let own: TestTenant;
  let ids: string[];
  let list: (query: string, by?: Client) => Promise<AuditRow[]>;

  beforeAll(async () => {
    own = await posthorn.tenant();
    ids = [];
    for (let index = 0; index < 3; index++) ids.push(await newSubscription(own));
    await own.request('DELETE', `/subscriptions/${ids[1]}`);
    await posthorn.admin.request('PATCH', `/tenants/${own.id}`, { name: 'renamed' });
    list = async (query, by = own) => {
      const { status, text, body } = await by.request('GET', `/audit${query}`);
      expect(status, text).toBe(200);
      return body.data as AuditRow[];
    };
  });

  it('lists what was done, newest first', async () => {
    const entries = await list('');
    expect(entries.map(({ action, object_id }) => [action, object_id])).toEqual([
      ['tenant.change', own.id],
      ['subscription.delete', ids[1]],
      ['subscription.create', ids[2]],
      ['subscription.create', ids[1]],
      ['subscription.create', ids[0]],
      ['tenant.create', own.id],
    ]);
  });

  it('goes on page by page', async () => {
    const all = await list('');
    const paged: AuditRow[] = [];
    let cursor = '';
    do {
      const { body } = await own.request('GET', `/audit?limit=4${cursor}`);
      paged.push(...body.data);
      cursor = body.next_cursor ? `&cursor=${body.next_cursor}` : '';
    } while (cursor !== '');
    expect(paged).toEqual(all);
  });

  it.each([
    ['?action=subscription.create', [2, 3, 4]],
    ['?object_type=tenant', [0, 5]],
    ['?object_type=subscription&action=tenant.create', []],
    ['?object_id=OBJECT', [1, 3]],
    ['?actor_id=ACTOR', [1, 2, 3, 4]],
    ['?actor_kind=operator', [0, 5]],
    ['?actor_kind=api_key&action=subscription.delete', [1]],
    ['?actor_kind=service', []],
    ['?result=ok', [0, 1, 2, 3, 4, 5]],
    ['?result=not_found', []],
    ['?from=TIME', [0, 1]],
    ['?to=TIME', [2, 3, 4, 5]],
    ['?from=TIME&to=TIME', []],
    ['?tenant_id=TENANT&from=1950-01-01T00:00:00Z&to=9999-12-31T00:00:00Z', [0, 1, 2, 3, 4, 5]],
  ])('finds by %s', async (query, expected) => {
    const all = await list('');
    const values = { OBJECT: ids[1]!, ACTOR: all[1]!.actor_id!, TIME: String(all[1]!.at), TENANT: own.id };
    const found = await list(query.replace(/[A-Z]{4,}/g, (name) => values[name as keyof typeof values]));
    expect(found.map(({ id }) => all.findIndex((entry) => entry.id === id))).toEqual(expected);
  });

  it.each([
    ['ok', ['tenant.create']],
    ['begun', ['subscription.test']],
    ['not_found', ['subscription.delete']],
    ['invalid_request', ['subscription.create']],
    ['failed', ['subscription.create', 'subscription.delete']],
  ])('finds what ended with result=%s', async (result, expected) => {
    const owner = await posthorn.tenant();
    await owner.request('DELETE', `/subscriptions/${uuidV7(0)}`);
    await owner.request('POST', '/subscriptions', { target_url: 1 });
    await refuse('update');
    await owner.request('POST', `/subscriptions/${uuidV7(0)}/test`);
    const found = await list(`?result=${result}`, owner);
    expect(found.map(({ action }) => action)).toEqual(expected);
  });

  it('shows a tenant nothing of another one', async () => {
    const shown = await list('', await posthorn.tenant());
    expect(shown.map(({ action }) => action)).toEqual(['tenant.create']);
    expect(await list(`?object_id=${ids[0]}`, await posthorn.tenant())).toEqual([]);
    const asked = await (await posthorn.tenant()).request('GET', `/audit?tenant_id=${own.id}`);
    expect(asked).toMatchObject({ status: 422, body: { errors: [{ path: 'tenant_id' }] } });
  });

  it('shows the operator everything, or one tenant', async () => {
    await posthorn.admin.request('POST', '/tenants', { name: '' });
    const everything = await list('?limit=100', posthorn.admin);
    expect(new Set(everything.map(({ tenant_id }) => tenant_id)).size).toBeGreaterThan(2);
    expect(everything[0]).toMatchObject({
      action: 'tenant.create',
      tenant_id: null,
      result: 'invalid_request',
    });

    const ofOne = await list(`?tenant_id=${own.id}`, posthorn.admin);
    expect(ofOne.map(({ id }) => id)).toEqual((await list('')).map(({ id }) => id));
  });

  it('tells where the operator sat to the operator alone', async () => {
    const change = { name: 'renamed again' };
    const headers = { 'x-request-id': 'alice:head-office', 'user-agent': 'desk/1' };
    const { body } = await posthorn.admin.request('POST', '/tenants', change);
    await posthorn.admin.request('PATCH', `/tenants/${body.id}`, change, headers);
    const query = '?action=tenant.change';
    const [seen] = await list(`${query}&tenant_id=${body.id}`, posthorn.admin);
    expect(seen).toMatchObject({ ip: '127.0.0.1', user_agent: 'desk/1', request_id: 'alice:head-office' });
    const shown = await list(query, client(posthorn.url, body.api_key));
    expect(shown).toEqual([{ ...seen, actor_name: null, ip: null, user_agent: null, request_id: null }]);
  });

  it('needs the scope admin, of a tenant', async () => {
    const key = await keyWith('read', 'events:write', 'subscriptions:write');
    expect(await key.request('GET', '/audit')).toMatchObject({
      status: 403,
      body: { code: 'insufficient_scope' },
    });
  });

  it.each([
    'action=subscription.paint',
    'actor_kind=api-key',
    'result=success',
    'object_id=1',
    'from=yesterday',
    'tenant_id=x',
    'cursor=x',
    'who=me',
  ])('refuses ?%s', async (query) => {
    const { status, body } = await own.request('GET', `/audit?${query}`);
    expect([status, body.errors[0].path]).toEqual([422, query.split('=')[0]]);
  });

  it('reads the newest page by its index, however much there is', async () => {
    await rows.query(
      `insert into audit_log (id, at, tenant_id, actor_kind, action, object_type, fields, result, request_id)
       select gen_random_uuid(), now(), case when n % 2 = 0 then $1 else gen_random_uuid() end, 'operator',
         'tenant.change', 'tenant', '{}', 'ok', 'many'
       from generate_series(1, 20000) n`,
      [tenant.id],
    );
    const explained = await openExplained(posthorn.databaseUrl, 'auto');
    const audit = new AuditRepository(new Database(explained.source));
    const page = { limit: 50, cursor: uuidV7(Date.now()) };
    const filters: AuditFilter[] = [
      {},
      { action: 'tenant.change' },
      { actorKind: 'operator' },
      { result: 'ok' },
    ];
    for (const filter of filters) {
      await audit.list(tenant.id, page, filter);
      await audit.listAll(page, filter);
    }
    const executed = (await explained.executed()).filter(({ text }) => text.includes('audit_log'));
    await explained.close();
    await rows.query(`delete from audit_log where request_id = 'many'`);

    expect(executed).toHaveLength(8);
    for (const { text, scans, blocks } of executed) {
      expect(
        scans.map(({ type }) => type),
        text,
      ).not.toContain('Seq Scan');
      expect(blocks, text).toBeLessThan(300);
    }
  });
});

describe('what Posthorn does itself', () => {
  const byItself = {
    id: expect.any(String),
    at: expect.any(String),
    actor_kind: 'service',
    actor_id: null,
    actor_name: null,
    new_id: null,
    fields: [],
    status_code: null,
    result: 'ok',
    ip: null,
    user_agent: null,
    request_id: null,
  };

  it('leaves one entry when a subscriber is gone, which its tenant sees', async () => {
    const owner = await posthorn.tenant();
    const target_url = `${simulator.url}/gone`;
    const { id } = (await owner.request('POST', '/subscriptions', { target_url })).body;
    // Some of them may be on their way when the first answer comes.
    for (let index = 0; index < 3; index++) {
      await owner.request('POST', '/events', { event_type: 'order.paid', payload: {} });
    }
    const seen = async () =>
      (await owner.request('GET', `/audit?object_id=${id}&action=subscription.disable`)).body.data;
    await waitFor(async () => (await seen()).length > 0, { what: 'the entry' });
    expect(await seen()).toEqual([
      {
        ...byItself,
        tenant_id: owner.id,
        action: 'subscription.disable',
        object_type: 'subscription',
        object_id: id,
      },
    ]);
  });

  it('switches a subscription off although no entry can be written', async () => {
    const tenantId = await rows.tenant();
    const id = await rows.subscription(tenantId, { targetUrl: `${simulator.url}/gone` });
    await refuse('insert');

    const subscription = await posthorn.app.get(SubscriptionCache, { strict: false }).find(tenantId, id);
    const policy = posthorn.app.get(GonePolicy, { strict: false });
    const report = {
      target: 'answered',
      outcome: 'gone',
      startedMs: 0,
      durationMs: 1,
      retryInMs: null,
    } as const;
    await policy.onResult(new Lane(id, 1), subscription, report);
    const left = await rows.query('select is_active, disabled_reason from subscription where id = $1', [id]);
    expect(left).toEqual([{ is_active: false, disabled_reason: 'gone' }]);
    expect(await entriesAbout(id)).toEqual([]);
  });

  it('leaves one entry when a deleted tenant is gone, for the operator', async () => {
    const { id } = await posthorn.tenant();
    await posthorn.admin.request('DELETE', `/tenants/${id}`);
    await rows.query(`update tenant set deletion_requested_at = now() - interval '1 day' where id = $1`, [
      id,
    ]);
    const isGone = async () => (await posthorn.admin.request('GET', `/tenants/${id}`)).status === 404;
    await waitFor(isGone, { what: 'the tenant to be gone' });

    const { body } = await posthorn.admin.request('GET', `/audit?tenant_id=${id}`);
    expect(body.data).toMatchObject([
      { ...byItself, tenant_id: id, action: 'tenant.remove', object_type: 'tenant', object_id: id },
      { action: 'tenant.delete', actor_kind: 'operator' },
      { action: 'tenant.create', actor_kind: 'operator' },
    ]);
  });

  it('does not let go of a tenant while no entry can be written', async () => {
    // A sequence keeps what is rolled back.
    await rows.query(`
      create sequence refused;
      create or replace function refuse() returns trigger language plpgsql as
        $$ begin perform nextval('refused'); raise 'refused'; end $$;
      create trigger refuse before insert on audit_log for each row execute function refuse()`);
    const id = await rows.tenant();
    await rows.query(`update tenant set deletion_requested_at = now() - interval '1 day' where id = $1`, [
      id,
    ]);
    const wasTried = async () => (await rows.query('select from refused where is_called')).length > 0;
    await waitFor(wasTried, { what: 'it to be tried' });
    expect(await rows.query('select 1 from tenant where id = $1', [id])).toHaveLength(1);

    await rows.query('drop trigger refuse on audit_log; drop sequence refused');
    const actions = async () => (await entriesAbout(id)).map(({ action }) => action);
    await waitFor(async () => (await actions()).length > 0, { what: 'the entry' });
    expect(await actions()).toEqual(['tenant.remove']);
    expect(await rows.query('select 1 from tenant where id = $1', [id])).toEqual([]);
  });
});

describe('the cleanup', () => {
  it('purges entries as old as AUDIT_RETENTION_DAYS says, however many', async () => {
    const now = Date.now();
    const agesMs = [-1, 0, 1, 2 * DAY];
    const old = agesMs.map((ageMs) => uuidV7(now - 7 * DAY - ageMs));
    await rows.query(
      `insert into audit_log (id, at, actor_kind, action, object_type, fields, result, request_id)
       select id, now(), 'operator', 'tenant.change', 'tenant', '{}', 'ok', 'old' from unnest($1::uuid[]) id`,
      [[...old, ...Array.from({ length: 4_500 }, (_, index) => uuidV7(now - 30 * DAY + index))]],
    );
    const before = await rows.query(`select 1 from audit_log where request_id <> 'old'`);

    const counts = await posthorn.app.get(CleanupService, { strict: false }).run(now);
    expect(counts.audit_entries).toBe(4_502);
    const left = await rows.query<{ id: string }>(
      `select id from audit_log where request_id = 'old' order by id`,
    );
    expect(left.map(({ id }) => id)).toEqual([old[1], old[0]]);
    expect(await rows.query(`select 1 from audit_log where request_id <> 'old'`)).toHaveLength(before.length);
  });
});

/** Holds what a statement locks, on a connection of its own. */
async function blocking(statement: string, values: unknown[]): Promise<{ release(): Promise<void> }> {
  const source = await createDataSource(posthorn.databaseUrl).initialize();
  const runner = source.createQueryRunner();
  await runner.startTransaction();
  await runner.query(statement, values);
  return {
    release: async () => {
      await runner.rollbackTransaction();
      await source.destroy();
    },
  };
}
