import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { harmless, Holdings, makeOneOfEach } from '../support/holdings.js';
import {
  bodySchema,
  Document,
  documentOf,
  hasParameter,
  isList,
  isPublic,
  keyed,
  kindListed,
  kindOf,
  nameOf,
  Operation,
  operationsOf,
  pathWith,
  queryParameters,
  resolved,
  Schema,
} from '../support/openapi.js';
import { Answer, Client, client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { settledStateOf, stateOf } from '../support/tenant-state.js';
import { waitFor } from '../support/wait-for.js';

/**
 * Walks the OpenAPI document and tries every route with what must not open it. There is no list of routes here: a new
 * one is covered from its first day, and one of which it is not known how to try it fails.
 */

const SCOPES = ['events:write', 'subscriptions:write', 'read', 'admin'];
/** Doors that need neither a key nor a signature. Another one has to be thought about, and put here. */
const OPEN_DOORS = /^GET \/(|health|ready|metrics)$/;

let posthorn: Posthorn;
let simulator: Simulator;
let rows: Rows;
let document: Document;
/** Every route that wants a key, and HEAD of those that have GET. */
let operations: Operation[];
let forTenants: Operation[];
/** Those that want the signature of a source instead. */
let forSources: Operation[];
let owner: Person;
let stranger: Person;

/** A tenant with one of each kind. */
interface Person {
  tenant: TestTenant;
  holdings: Holdings;
  /** Words that only its own answers may hold. */
  words: string[];
  marker: string;
}

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn({ env: { TENANT_RATE_LIMIT: '1000000', TENANT_RATE_BURST: '1000000' } });
  rows = new Rows(posthorn.databaseUrl);
  document = await documentOf(posthorn);
  operations = operationsOf(document)
    .filter((operation) => !isPublic(operation))
    .flatMap((operation) =>
      operation.method === 'GET' ? [operation, { ...operation, method: 'HEAD' }] : [operation],
    );
  forTenants = operations.filter(({ isAdmin }) => !isAdmin);
  forSources = operationsOf(document).filter(({ scope }) => scope === 'source');
  owner = await person();
  stranger = await person();
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
  await simulator.close();
});

async function person(): Promise<Person> {
  const marker = `m${randomBytes(8).toString('hex')}`;
  const tenant = await posthorn.tenant(`name.${marker}`);
  const { holdings, secrets } = await makeOneOfEach(tenant, operations, { simulator, marker, events: 2 });
  holdings.set('tenant', [tenant.id]);
  const words = [marker, tenant.apiKey, ...secrets, ...[...holdings.values()].flat()];
  return { tenant, holdings, words, marker };
}

/** A tenant with nothing. */
const newcomer = async (): Promise<Pick<Person, 'tenant' | 'holdings'>> => ({
  tenant: await posthorn.tenant('a newcomer'),
  holdings: new Map(),
});

describe('the document', () => {
  it('has every route of the server', () => {
    const described = operationsOf(document).map(({ method, path }) => `${method} ${path}`);
    const server = posthorn.app.getHttpAdapter().getInstance();
    const served = routesOf(server.printRoutes({ commonPrefix: false }));
    expect(served.length).toBeGreaterThan(30);
    const hidden = served.filter((route) => !route.startsWith('HEAD ') && !described.includes(route));
    expect(hidden.filter((route) => !/^GET \/docs/.test(route))).toEqual([]);
  });

  it('says of each route what a key needs for it, and opens no other door without one', () => {
    const vague = operations.filter(({ scope }) => ![...SCOPES, 'operator'].includes(scope ?? ''));
    expect(vague.map(nameOf)).toEqual([]);
    const open = operationsOf(document).filter(
      (operation) => isPublic(operation) && operation.scope !== 'source',
    );
    expect(open.map(nameOf).filter((door) => !OPEN_DOORS.test(door))).toEqual([]);
  });

  it('lets who may only read change nothing and see no secret, and shows keys and the audit log to no other than admins', () => {
    const forReaders = operations.filter(({ scope }) => scope === 'read');
    expect(forReaders.length).toBeGreaterThan(10);
    const changing = forReaders.filter(({ method }) => !['GET', 'HEAD'].includes(method));
    // It only looks, for more than fits in a path.
    expect(changing.map(nameOf)).toEqual(['POST /webhooks/search']);
    // What changes something is audited, and beside it what is worth knowing that somebody saw it.
    expect(forReaders.filter(({ described }) => 'x-audit-action' in described).map(nameOf)).toEqual([]);
    const administration = operations.filter(({ path }) => /\/(api-keys|audit)(\/|$)/.test(path));
    expect(administration.length).toBeGreaterThan(5);
    expect(administration.filter(({ scope }) => !['admin', 'operator'].includes(scope!)).map(nameOf)).toEqual(
      [],
    );
  });
});

describe('every route', () => {
  it.each<[string, (key: string) => Record<string, string>]>([
    ['no key', () => ({})],
    ['a wrong Bearer token', () => ({ authorization: 'Bearer ph_wrong' })],
    ['a wrong X-API-Key', () => ({ 'x-api-key': 'ph_wrong' })],
    ['an empty Bearer token', () => ({ authorization: 'Bearer ' })],
    ['an empty X-API-Key', () => ({ 'x-api-key': '' })],
    ['a key in another scheme', (key) => ({ authorization: `Basic ${key}` })],
    ['a key without a scheme', (key) => ({ authorization: key })],
    ['two keys', (key) => ({ authorization: `Bearer ${key} ${key}` })],
    ['a key in a cookie', (key) => ({ cookie: `authorization=Bearer ${key}; x-api-key=${key}` })],
    ['the beginning of a key', (key) => ({ authorization: `Bearer ${key.slice(0, -1)}` })],
    ['more than a key', (key) => ({ authorization: `Bearer ${key}A` })],
    ['a key in other case', (key) => ({ authorization: `Bearer ${key.toUpperCase()}` })],
    ['the hash of a key', (key) => ({ 'x-api-key': createHash('sha256').update(key).digest('hex') })],
    ['the id of a key', () => ({ 'x-api-key': owner.holdings.get('api_key')![0]! })],
    ['the id of a tenant', () => ({ 'x-api-key': owner.tenant.id })],
  ])('refuses %s', async (_, headersOf) => {
    await walk(operations, async (operation) => {
      const answer = await attempt(posthorn.anonymous, operation, headersOf(owner.tenant.apiKey));
      expectRefusal(operation, answer, 401, 'unauthorized');
      expect(answer.headers['www-authenticate'], nameOf(operation)).toBe('Bearer');
    });
  });

  it('refuses a key that was revoked, and one that has expired', async () => {
    const ended = await Promise.all([keyOf(owner, ['admin']), keyOf(owner, ['admin'])]);
    for (const { key } of ended) expect((await firstListWith(key)).status).toBe(200);
    await owner.tenant.request('DELETE', `/api-keys/${ended[0].id}`);
    await rows.query(`update api_key set expires_at = now() - interval '1 s' where id = $1`, [ended[1].id]);
    for (const { key } of ended) {
      await waitFor(async () => (await firstListWith(key)).status === 401, { what: 'the key to end' });
      await walk(operations, async (operation) =>
        expectRefusal(operation, await attempt(client(posthorn.url, key), operation), 401, 'unauthorized'),
      );
    }
  });

  it.each(SCOPES)('lets a key with the scope %s do what needs it, and nothing else', async (scope) => {
    const { key } = await keyOf(stranger, [scope]);
    const holder = client(posthorn.url, key);
    await walk(forTenants, async (operation) => {
      if (scope !== operation.scope && scope !== 'admin') {
        expectRefusal(operation, await attempt(holder, operation), 403, 'insufficient_scope');
        return;
      }
      // Nothing comes of it: what the key opens is a door with nothing behind it.
      const body = operation.example && [];
      const path = pathWith(operation, uuidV7(Date.now()));
      const answer = await holder.request(operation.method, path, body);
      const where = `${nameOf(operation)}: ${answer.text}`;
      expect([200, 404, 415, 422], where).toContain(answer.status);
    });
  });

  it("keeps the operator's routes from tenants, and the tenants' from the operator", async () => {
    await walk(operations, async (operation) => {
      if (operation.isForBoth) return;
      const other = operation.isAdmin ? owner.tenant : posthorn.admin;
      expectRefusal(operation, await attempt(other, operation), 403, 'forbidden');
    });
  });

  it('is closed to a tenant that is suspended', async () => {
    const { tenant } = await person();
    const { status } = await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { suspended: true });
    expect(status).toBe(200);
    await waitFor(async () => (await firstListWith(tenant.apiKey)).status === 403, {
      what: 'the suspension',
    });
    await walk(operations, async (operation) =>
      expectRefusal(
        operation,
        await attempt(tenant, operation),
        403,
        operation.isAdmin ? 'forbidden' : 'tenant_suspended',
      ),
    );
  });
});

describe('every door of a source', () => {
  const withoutSignature = (sender: Client, operation: Operation, id: string, tenantId: string) =>
    sender.request('POST', pathWith(operation, id), harmlessExample(operation) ?? {}, {
      'x-tenant-id': tenantId,
      ...SAME_REQUEST,
    });

  it('is closed to whoever does not sign, with a key or without', async () => {
    const [source] = owner.holdings.get('source')!;
    const senders = [posthorn.anonymous, posthorn.admin, stranger.tenant, owner.tenant];
    await untouched(owner, async () => {
      await walk(forSources, async (operation) => {
        for (const sender of senders) {
          const answer = await withoutSignature(sender, operation, source!, owner.tenant.id);
          expectRefusal(operation, answer, 401, 'signature_invalid');
          expectNothingOf(owner, operation, answer, []);
        }
      });
    });
  });

  it('leads nowhere with what nobody has, and with what is no source', async () => {
    const ids = oneOfEachKind(owner).filter((id) => !owner.holdings.get('source')!.includes(id));
    await walk(forSources, async (operation) => {
      for (const id of [...ids, uuidV7(Date.now())]) {
        const answer = await withoutSignature(posthorn.anonymous, operation, id, id);
        if (hasParameter(operation)) expectRefusal(operation, answer, 404, 'not_found');
        else expectRefusal(operation, answer, 401, 'signature_invalid');
        expectNothingOf(owner, operation, answer, [id]);
      }
    });
  });
});

describe('of another tenant, every route', () => {
  it('knows no id in its path, and answers as to one that nobody has', async () => {
    await untouched(owner, async () => {
      await walk(forTenants.filter(hasParameter), async (operation) => {
        for (const id of oneOfEachKind(owner)) {
          const body = harmlessExample(operation);
          const answer = await stranger.tenant.request(
            operation.method,
            pathWith(operation, id),
            body,
            SAME_REQUEST,
          );
          expectRefusal(operation, answer, 404, 'not_found');
          expectNothingOf(owner, operation, answer, [id]);
          const nobodys = uuidV7(Date.now());
          const path = pathWith(operation, nobodys);
          const control = await stranger.tenant.request(operation.method, path, body, SAME_REQUEST);
          expect(comparable(answer, id), nameOf(operation)).toEqual(comparable(control, nobodys));
        }
      });
    });
  });

  it('shows nothing for an id, name or cursor in its query', async () => {
    // One whose own history, which it may read, has not met these ids.
    const asker = await person();
    const cursors = await cursorsOf(owner);
    const values = [...oneOfEachKind(owner), ...namesOf(owner), ...cursors];
    let tried = 0;
    await untouched(owner, async () => {
      await walk(forTenants, async (operation) => {
        const texts = queryParameters(operation).filter(
          ({ schema }) => schema?.type === 'string' && !schema.enum,
        );
        for (const { name } of texts) {
          for (const value of values) {
            const path = `${pathWith(operation, (parameter) => ownId(asker, operation, parameter))}?${name}=`;
            const answer = await asker.tenant.request(operation.method, path + encodeURIComponent(value));
            expect([200, 403, 422], `${nameOf(operation)}?${name}=${value}`).toContain(answer.status);
            expectNothingOf(owner, operation, answer, [value]);
            await expectOwn(asker, operation, answer);
            tried += answer.status === 200 ? 1 : 0;
          }
        }
      });
    });
    expect(tried).toBeGreaterThan(20);
  });

  it('does nothing for an id or name in its body, and answers as to one that nobody has', async () => {
    const values = [...oneOfEachKind(owner), ...namesOf(owner)];
    let tried = 0;
    await untouched(owner, async () => {
      await walk(forTenants, async (operation) => {
        for (const field of identifyingFields(bodySchema(operation))) {
          // Somebody else for each field: an event has a name in one that it has in another as well.
          const { tenant, holdings } = hasParameter(operation) ? await person() : await newcomer();
          const path = pathWith(operation, (parameter) => ownId({ holdings }, operation, parameter));
          const ask = (value: string) => {
            const body = withField(leastBody(operation), field, value);
            return tenant.request(operation.method, path, body, SAME_REQUEST);
          };
          for (const value of values) {
            const nobodys = value.includes(owner.marker)
              ? value.replace(owner.marker, `m${randomBytes(8).toString('hex')}`)
              : uuidV7(Date.now());
            const answer = await ask(value);
            expectNothingOf(owner, operation, answer, [value]);
            expect(comparable(answer, value), `${nameOf(operation)} ${field.join('.')}`).toEqual(
              comparable(await ask(nobodys), nobodys),
            );
            tried += answer.status < 300 ? 1 : 0;
          }
        }
      });
    });
    expect(tried).toBeGreaterThan(10);
  });

  it('changes nothing of it when asked for all that there is', async () => {
    await untouched(owner, async () => {
      await walk(
        forTenants.filter(({ example }) => example),
        async (operation) => {
          const path = pathWith(operation, (parameter) => ownId(stranger, operation, parameter));
          const answer = await stranger.tenant.request(operation.method, path, leastBody(operation));
          expect(answer.status, `${nameOf(operation)}: ${answer.text}`).toBeLessThan(300);
          expectNothingOf(owner, operation, answer, []);
        },
      );
    });
  });

  it('would have found what it was asked for, had the owner asked', async () => {
    await walk(operations.filter(hasParameter), async (operation) => {
      // What the request before it did may be in the way of the next: each that changes something has an owner to itself.
      const one = ['GET', 'HEAD'].includes(operation.method) ? owner : await person();
      const path = pathWith(operation, (parameter) => ownId(one, operation, parameter));
      const answer = await keyed(operation, posthorn, one.tenant).request(
        operation.method,
        path,
        harmlessExample(operation),
      );
      expect([200, 201, 202, 204, 409], `${nameOf(operation)}: ${answer.text}`).toContain(answer.status);
    });
  });
});

describe('every list', () => {
  it('shows a tenant its own, and all of it, with the rows of another between', async () => {
    const [one, many] = [await person(), await person()];
    const rounds = 10;
    for (let round = 0; round < rounds; round++) {
      for (const [someone, count] of [
        [one, 1],
        [many, 6],
        [one, 1],
      ] as const)
        await makeMore(someone, count);
    }
    await waitFor(async () => (await openDeliveries([one, many])) === 0, {
      what: 'the deliveries to end',
    });
    const lists = forTenants.filter(isList);
    expect(lists.length).toBeGreaterThan(5);
    await walk(lists, async (operation) => {
      for (const someone of [one, many]) {
        const path = pathWith(operation, (parameter) => ownId(someone, operation, parameter));
        const ids = await pagedIds(someone.tenant, path, someone === one ? 7 : 100);
        const where = `${nameOf(operation)}: ${ids.length} rows`;
        expect(new Set(ids).size, where).toBe(ids.length);
        expect(await ownersOf(ids), where).toEqual([someone.tenant.id]);
        if (hasParameter(operation)) continue;
        expect(ids.length, where).toBeGreaterThanOrEqual(rounds * 2);
        const all = await idsInTable(kindListed(operation), someone);
        if (all) expect([...ids].sort(), where).toEqual(all);
      }
    });
  });
});

/** The same name for two requests, so that their answers differ in nothing else. */
const SAME_REQUEST = { 'x-request-id': 'the-same' };

async function walk(some: Operation[], visit: (operation: Operation) => Promise<void> | void): Promise<void> {
  expect(some.length).toBeGreaterThan(0);
  for (const operation of some) await visit(operation);
}

/** A request that would work with the right key: to something of the owner, with the body of the documentation. */
function attempt(
  sender: Client,
  operation: Operation,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const path = pathWith(operation, (parameter) => ownId(owner, operation, parameter));
  return sender.request(operation.method, path, harmlessExample(operation), headers);
}

function expectRefusal(operation: Operation, answer: Answer, status: number, code: string): void {
  const where = `${nameOf(operation)}: ${answer.status} ${answer.text}`;
  expect(answer.status, where).toBe(status);
  expect(Object.keys(operation.described.responses), where).toContain(String(status));
  expect(answer.headers['content-type'], where).toMatch(/^application\/problem\+json/);
  if (operation.method !== 'HEAD') expect(answer.body.code, where).toBe(code);
}

/** @param said what the request itself said may be said again */
function expectNothingOf({ words }: Person, operation: Operation, answer: Answer, said: string[]): void {
  const shown = [answer.text, ...Object.values(answer.headers).flat()].join('\n');
  const leaked = words.filter((word) => !said.some((one) => one.includes(word)) && shown.includes(word));
  expect(leaked, `${nameOf(operation)}: ${shown}`).toEqual([]);
}

async function untouched({ tenant }: Person, work: () => Promise<void>): Promise<void> {
  const before = await settledStateOf(rows, tenant.id);
  expect(before.length).toBeGreaterThan(10);
  await work();
  expect(await stateOf(rows, tenant.id)).toEqual(before);
}

/** A dead letter has the id of its delivery, which is one id to try. */
const oneOfEachKind = ({ holdings }: Person): string[] => [
  ...new Set([...holdings.values()].map(([first]) => first!)),
];

/** What it called its things itself, as `makeOneOfEach` does. */
const namesOf = ({ marker }: Person): string[] => [`type.${marker}`, `event-0-${marker}`, `key_0_${marker}`];

function ownId({ holdings }: Pick<Person, 'holdings'>, operation: Operation, parameter: string): string {
  const [id] = holdings.get(kindOf(operation, parameter)) ?? [];
  if (id === undefined)
    throw new Error(`${nameOf(operation)} takes a ${kindOf(operation, parameter)}: nobody has one`);
  return id;
}

const harmlessExample = ({ example }: Operation): Record<string, unknown> | undefined =>
  example && (harmless(example, simulator.url) as Record<string, unknown>);

async function keyOf({ tenant }: Person, scopes: string[]): Promise<{ id: string; key: string }> {
  const { status, body, text } = await tenant.request('POST', '/api-keys', { name: 'one', scopes });
  expect(status, text).toBe(201);
  return { id: body.id, key: body.api_key };
}

const firstListWith = (key: string): Promise<Answer> =>
  client(posthorn.url, key).request(
    'GET',
    forTenants.find((operation) => isList(operation) && !hasParameter(operation))!.path,
  );

/** All of an answer but what may differ: the time, what is left of a rate limit, and what was made just now. */
function comparable({ status, headers, text }: Answer, said: string): unknown {
  const { date: _date, 'content-length': _length, ...others } = headers;
  const kept = Object.entries({ ...others, location: others['location']?.slice(0, -36) }).filter(
    ([name]) => !name.startsWith('ratelimit'),
  );
  const told = text
    .replaceAll(said, 'what was said')
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'an id')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'a time')
    .replace(/"(api_key|secret|last_four|prefix)":"[^"]*"/g, '"$1":"a secret"');
  return { status, headers: kept, text: told };
}

async function cursorsOf({ tenant }: Person): Promise<string[]> {
  const lists = forTenants.filter(
    (operation) => isList(operation) && !hasParameter(operation) && operation.method === 'GET',
  );
  const answers = await Promise.all(lists.map(({ path }) => tenant.request('GET', `${path}?limit=1`)));
  const cursors = answers
    .map(({ body }) => body.next_cursor as string | null)
    .filter((cursor) => cursor !== null);
  expect(cursors.length).toBe(lists.length);
  return cursors;
}

/** Every row of a list is its reader's own. */
async function expectOwn({ tenant }: Person, operation: Operation, answer: Answer): Promise<void> {
  const data = (answer.body?.data ?? []) as { id: string }[];
  if (data.length === 0) return;
  expect(await ownersOf(data.map(({ id }) => id)), nameOf(operation)).toEqual([tenant.id]);
}

/** Paths to fields of a body that name something: `*_id`, or a key. */
function identifyingFields(schema: Schema | undefined, path: string[] = []): string[][] {
  if (!schema) return [];
  const { properties = {}, items, allOf = [], format } = resolved(document, schema);
  const name = path.at(-1) ?? '';
  const own = format === 'uuid' || /(^|_)(id|ids|key|cursor|type)$/.test(name) ? [path] : [];
  return [
    ...own,
    ...allOf.flatMap((part) => identifyingFields(part, path)),
    ...(items ? identifyingFields(items, [...path, '0']) : []),
    ...Object.entries(properties).flatMap(([member, one]) => identifyingFields(one, [...path, member])),
  ];
}

/**
 * The example with what is required alone, so that no other filter saves what the field that is tried would meet; and
 * without what makes a request the same as an earlier one.
 */
function leastBody(operation: Operation): Record<string, unknown> {
  const { required = [] } = resolved(document, bodySchema(operation)!);
  const members = Object.entries(harmlessExample(operation)!).filter(([name]) => required.includes(name));
  return JSON.parse(JSON.stringify(Object.fromEntries(members)), (name, value: unknown) =>
    /_(id|key)$/.test(name) ? undefined : value,
  ) as Record<string, unknown>;
}

function withField(
  body: Record<string, unknown>,
  [first, ...rest]: string[],
  value: string,
): Record<string, unknown> {
  const copy = (Array.isArray(body) ? [...(body as unknown[])] : { ...body }) as Record<string, unknown>;
  const inside = (copy[first!] ?? {}) as Record<string, unknown>;
  copy[first!] = rest.length === 0 ? value : withField(inside, rest, value);
  return copy;
}

/** More of whatever a tenant can make, events among them. */
async function makeMore({ tenant, marker }: Person, count: number): Promise<void> {
  const makers = forTenants.filter(
    ({ method, path }) =>
      method === 'POST' && forTenants.some((other) => isList(other) && other.path === path),
  );
  const events = Array.from({ length: count * 12 }, () => ({
    event_type: `type.${marker}`,
    payload: { marker },
  }));
  const answer = await tenant.request('POST', '/events/batch', { events });
  expect(answer.status, answer.text).toBe(202);
  const requests = makers.flatMap((operation) => Array.from({ length: count }, () => operation));
  const answers = requests.map((operation) =>
    tenant.request('POST', operation.path, {
      ...harmlessExample(operation),
      ...(operation.path === '/subscriptions' && { is_active: false }),
    }),
  );
  // An event that was there already is answered 200.
  for (const { status, text } of await Promise.all(answers)) expect(status, text).toBeLessThan(300);
}

async function openDeliveries(people: Person[]): Promise<number> {
  const [{ count }] = (await rows.query<{ count: number }>(
    `select count(*)::int as count from delivery where tenant_id = any($1) and status in ('pending', 'delivering')`,
    [people.map(({ tenant }) => tenant.id)],
  )) as [{ count: number }];
  return count;
}

async function pagedIds(reader: Client, path: string, limit: number): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
    const { status, body, text } = await reader.request('GET', `${path}?limit=${limit}${query}`);
    expect(status, text).toBe(200);
    ids.push(...(body.data as { id: string }[]).map(({ id }) => id));
    cursor = body.next_cursor as string | null;
  }
  return ids;
}

/** The tenants to whom the rows with these ids belong; an id that no table knows belongs to 'nobody'. */
async function ownersOf(ids: string[]): Promise<string[]> {
  const found = new Map<string, string>();
  for (const table of await tablesOfTenants()) {
    const known = await rows.query<{ id: string; tenant_id: string }>(
      `select id, tenant_id from ${table} where id = any($1)`,
      [ids],
    );
    for (const { id, tenant_id } of known) found.set(id, tenant_id);
  }
  return [...new Set(ids.map((id) => found.get(id) ?? 'nobody'))];
}

async function idsInTable(table: string, { tenant }: Person): Promise<string[] | undefined> {
  if (!(await tablesOfTenants()).includes(table)) return undefined;
  const found = await rows.query<{ id: string }>(`select id from ${table} where tenant_id = $1`, [tenant.id]);
  return found.map(({ id }) => id).sort();
}

async function tablesOfTenants(): Promise<string[]> {
  const found = await rows.query<{ name: string }>(
    `select relname as name from pg_class c
     where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace
       and (select count(*) from pg_attribute
            where attrelid = c.oid and attname in ('id', 'tenant_id') and not attisdropped) = 2`,
  );
  return found.map(({ name }) => name);
}

/** `METHOD /path/{parameter}` of each line of Fastify's tree of routes, without /api/v1. */
function routesOf(tree: string): string[] {
  const above: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const found = /^([│ ]*)[├└]── (\S+) \(([A-Z, ]+)\)/.exec(line);
    if (!found) return [];
    const depth = found[1]!.length / 4;
    above[depth] = found[2]!;
    const path = above
      .slice(0, depth + 1)
      .join('')
      .replace('/api/v1', '')
      .replace(/:(\w+)/g, '{$1}');
    return found[3]!.split(', ').map((method) => `${method} ${path}`);
  });
}
