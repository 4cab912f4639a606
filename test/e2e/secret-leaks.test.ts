import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../src/embedded/free-port.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { nameOf, type Operation, operationsOf, pathWith } from '../support/openapi.js';
import { type Answer, type Client, client } from '../support/posthorn.js';
import { DataFolder, type PosthornProcess } from '../support/process.js';
import { waitFor } from '../support/wait-for.js';

/**
 * A service that logs all it can, in which everything happens that has to do with secrets, and then a search for them
 * in whatever it has said, answered, sent or kept.
 */

/** The answers that are there to give a secret, when they succeed. */
const TELLING = [
  /^POST \/tenants$/,
  /^POST (\/tenants\/[^/]+)?\/api-keys$/,
  /^POST \/api-keys\/[^/]+\/rotate$/,
  /^POST \/subscriptions$/,
  /^POST \/subscriptions\/[^/]+\/rotate-secret$/,
  /^GET \/subscriptions\/[^/]+\/secret$/,
  /^POST \/sources$/,
  /^POST \/sources\/[^/]+\/rotate-secret$/,
];
/** Files of the data folder that are there to hold a key. */
const KEY_FILES = ['encryption-key', 'admin-api-key', 'tenant-api-key', 'posthorn.password'];

/** So many characters of a secret in a row are a leak of it. */
const PIECE = 12;

const ownSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

/** By what it is: the present secret of a subscription or a source, an API key, … */
const secrets = new Map<string, string>();
const learn = (what: string, secret: string): string => {
  secrets.set(secret, what);
  return secret;
};

/** Whatever could be leaked of a secret: pieces of its text and of its bytes in hex. */
function cut(secret: string): string[] {
  const decoded = Buffer.from(secret.replace(/^(whsec|phs?)_/, ''), 'base64');
  const forms = [secret, Buffer.from(secret).toString('hex'), decoded.toString('hex')];
  return forms.flatMap((form, index) => {
    const size = index === 0 ? PIECE : 2 * PIECE;
    const count = Math.max(form.length - size + 1, 0);
    return Array.from({ length: count }, (_, from) => form.slice(from, from + size));
  });
}

const pieces = new Map<string, string[]>();

function piecesOf(secret: string): string[] {
  let known = pieces.get(secret);
  if (!known) pieces.set(secret, (known = cut(secret)));
  return known;
}

function leaksIn(text: string, allowed: ReadonlySet<string> = new Set()): string[] {
  const leaks: string[] = [];
  for (const [secret, what] of secrets) {
    if (allowed.has(secret)) continue;
    const piece = piecesOf(secret).find((part) => text.includes(part));
    if (piece === undefined) continue;
    const at = text.indexOf(piece);
    leaks.push(`${what}: …${text.slice(Math.max(at - 100, 0), at + 60)}…`);
  }
  return leaks;
}

interface Recorded {
  what: string;
  answer: Answer;
}

let simulator: Simulator;
let folder: DataFolder;
let posthorn: PosthornProcess;
let database: pg.Client;
const answers: Recorded[] = [];
/** The whole database. */
let dumped: string;
let log: string;
let walked: { operation: Operation; statuses: Set<number> }[];
let startedMs: number;

/** Remembers every answer, and every secret that a telling one gives. */
function recording(inner: Client, who: string): Client {
  return {
    async request(method, path, body, headers) {
      const answer = await inner.request(method, path, body, headers);
      const what = `${method} ${path}`;
      answers.push({ what, answer });
      if (isTelling({ what, answer })) {
        for (const [text] of answer.text.matchAll(/\b(?:whsec_[\w+/]{43}=|phs?_[\w-]{43})/g)) {
          learn(`a secret of ${who}, from ${what}`, text);
        }
      }
      return answer;
    },
  };
}

const isTelling = ({ what, answer }: Recorded): boolean =>
  answer.status < 300 && TELLING.some((route) => route.test(what));

beforeAll(async () => {
  startedMs = Date.now();
  simulator = await startSimulator();
  folder = await DataFolder.make();
  posthorn = await folder.start({
    LOG_LEVEL: 'trace',
    METRICS_TOKEN: learn('METRICS_TOKEN', randomBytes(24).toString('hex')),
  });
  const files = filesIn(folder.path);
  for (const name of KEY_FILES) {
    learn(
      name,
      readFileSync(
        files.find((file) => basename(file) === name)!,
        'utf8',
      ).trim(),
    );
  }
  const keyOf = (name: string): string => [...secrets].find(([, what]) => what === name)![0];
  const postmaster = files.find((file) => basename(file) === 'postmaster.pid')!;
  const port = Number(readFileSync(postmaster, 'utf8').split('\n')[3]);
  const password = keyOf('posthorn.password');
  database = new pg.Client({ host: '127.0.0.1', port, user: 'posthorn', password, database: 'postgres' });
  database.on('error', () => undefined); // tells nothing that the next statement does not
  await database.connect();

  const admin = recording(client(posthorn.url, keyOf('admin-api-key')), 'the operator');
  const made = await admin.request('POST', '/tenants', { name: 'a tenant' });
  const tenant = recording(client(posthorn.url, made.body.api_key), 'the tenant');
  await useKeys(admin, tenant, made.body.id);
  await useSecrets(tenant);
  await useSources(tenant);
  await handInBadBodies(tenant);
  await breakTheDatabase(tenant);
  await deliver(tenant);
  await walk(admin, tenant);
  dumped = await dump();
  await database.end();
  await posthorn.terminate();
  log = posthorn.log();
});
afterAll(async () => {
  await simulator.close();
  await folder.remove();
});

async function useKeys(admin: Client, tenant: Client, tenantId: string): Promise<void> {
  const path = '/api-keys';
  const made = await tenant.request('POST', path, { name: 'second', scopes: ['read'] });
  expect(made.status, made.text).toBe(201);
  await tenant.request('POST', `${path}/${made.body.id}/rotate`, { overlap_seconds: 60 });
  await admin.request('POST', `/tenants/${tenantId}/api-keys`, { name: 'third', scopes: ['admin'] });
  await admin.request('PATCH', `/tenants/${tenantId}`, { name: 'renamed' });

  const wrong = learn('a wrong key', `ph_${randomBytes(32).toString('base64url')}`);
  const nobody = client(posthorn.url);
  for (const header of [
    { authorization: `Bearer ${wrong}` },
    { authorization: wrong },
    { authorization: `Basic ${wrong}` },
    { 'x-api-key': wrong },
  ]) {
    const refused = await recording(nobody, 'nobody').request('GET', '/subscriptions', undefined, header);
    expect(refused.status).toBe(401);
  }
  const { apiKey } = posthorn;
  await tenant.request('GET', `/subscriptions?api_key=${apiKey}`);
  await recording(client(posthorn.url, apiKey), 'the default tenant').request('GET', '/tenants');
}

async function useSecrets(tenant: Client): Promise<void> {
  const target_url = `${simulator.url}/ok/secrets`;
  const own = learn('an own secret', ownSecret());
  const plain = learn('a plain own secret', `my own ${randomBytes(12).toString('hex')}`);
  for (const secret of [undefined, own, plain]) {
    const { body } = await tenant.request('POST', '/subscriptions', { target_url, secret });
    const path = `/subscriptions/${body.id}`;
    await tenant.request('PATCH', path, { secret: learn('a patched secret', ownSecret()) });
    await tenant.request('PUT', path, { target_url, secret: learn('a replaced secret', ownSecret()) });
    await tenant.request('POST', `${path}/rotate-secret`, { overlap_seconds: 600 });
    await tenant.request('POST', `${path}/rotate-secret`, {
      secret: learn('a rotated secret', ownSecret()),
      overlap_seconds: 600,
    });
    expect((await tenant.request('GET', `${path}/secret`)).body.previous_secret).toMatch(/^whsec_/);
    expect((await tenant.request('POST', `${path}/test`)).status).toBeLessThan(300);
  }
}

/** And what a provider sends: the secret itself, to a source that takes a token. */
async function useSources(tenant: Client): Promise<void> {
  const name = 'a source';
  for (const provider of ['hmac', 'standard-webhooks', 'bearer']) {
    for (const secret of [undefined, learn(`an own secret of ${provider}`, ownSecret())]) {
      const { body, text } = await tenant.request('POST', '/sources', { name, provider, secret });
      expect(body.secret, text).toBeDefined();
      const path = `/sources/${body.id}`;
      await tenant.request('POST', `${path}/rotate-secret`, { overlap_seconds: 600 });
      const given = learn(`a rotated secret of ${provider}`, ownSecret());
      await tenant.request('POST', `${path}/rotate-secret`, { secret: given, overlap_seconds: 600 });
      await tenant.request('PATCH', path, { description: 'renamed' });
      for (const token of [given, learn('a wrong token', ownSecret())]) {
        const sent = await recording(client(posthorn.url), 'a provider').request(
          'POST',
          `/webhooks/receive/${body.id}`,
          { a: 1 },
          { authorization: `Bearer ${token}`, 'x-webhook-signature': token },
        );
        expect(sent.status, sent.text).toBe(provider === 'bearer' && token === given ? 202 : 401);
      }
    }
  }
}

async function handInBadBodies(tenant: Client): Promise<void> {
  const secret = learn('a secret in a bad body', ownSecret());
  const target_url = `${simulator.url}/ok`;
  const { body: made } = await tenant.request('POST', '/subscriptions', { target_url });
  const { body: source } = await tenant.request('POST', '/sources', { name: 'a source', provider: 'hmac' });
  // JSON.parse quotes short bodies as a whole.
  const short = learn('a short secret in a bad body', `x${randomBytes(7).toString('hex')}`);
  const unusable = learn('an unusable secret', `whsec_${randomBytes(16).toString('base64')}!`);
  for (const [method, path] of [
    ['POST', '/subscriptions'],
    ['PATCH', `/subscriptions/${made.id}`],
    ['PUT', `/subscriptions/${made.id}`],
    ['POST', `/subscriptions/${made.id}/rotate-secret`],
    ['POST', '/sources'],
    ['PATCH', `/sources/${source.id}`],
    ['POST', `/sources/${source.id}/rotate-secret`],
    ['POST', '/events'],
    ['POST', '/events/batch'],
    ['POST', '/tenants'],
    ['POST', '/api-keys'],
  ] as const) {
    for (const body of [
      { target_url: 'no url', secret },
      { target_url, secret, unheard_of: secret },
      { target_url, secret: unusable },
      { name: 'a source', provider: 'standard-webhooks', secret: unusable },
      { target_url, secret: `${secret}\u0000` },
      { target_url, secret: { secret } },
      { target_url, secret: [secret] },
      [secret],
      `{"secret": "${secret}" x}`,
      `{"secret": "${secret}`,
      `{"secret": ${secret}}`,
      short,
      `{"s":${short}}`,
      `{"secret": "${secret}"}}`,
      `{"secret": "\t${secret}"}`,
      secret,
      `"${secret}"`,
    ]) {
      const { status } = await tenant.request(method, path, body);
      expect([400, 403, 422], `${method} ${path} ${JSON.stringify(body)}`).toContain(status);
    }
    await tenant.request(method, path, `secret=${secret}`, {
      'content-type': 'application/x-www-form-urlencoded',
    });
  }
}

/** Fails in the middle of writing a secret: the row is refused, the connection ends, the secret cannot be read. */
async function breakTheDatabase(tenant: Client): Promise<void> {
  await database.query(`
    alter table subscription add constraint refused check (description <> 'refuse');
    create function break_connection() returns trigger language plpgsql as $$
    begin
      if new.description = 'break' then perform pg_terminate_backend(pg_backend_pid()); end if;
      if new.description = 'raise' then raise exception 'no room for %', new; end if;
      return new;
    end $$;
    create trigger break_connection before insert or update on subscription
      for each row execute function break_connection();
    alter table source add constraint refused check (description <> 'refuse');
    create trigger break_connection before insert or update on source
      for each row execute function break_connection()`);
  const target_url = `${simulator.url}/ok`;
  for (const description of ['refuse', 'break', 'raise']) {
    const secret = learn(`a secret with which the database fails: ${description}`, ownSecret());
    const { body: made } = await tenant.request('POST', '/subscriptions', { target_url });
    for (const [method, path] of [
      ['POST', '/subscriptions'],
      ['PUT', `/subscriptions/${made.id}`],
      ['PATCH', `/subscriptions/${made.id}`],
    ] as const) {
      const { status } = await tenant.request(method, path, { target_url, secret, description });
      expect([500, 503], `${method} ${description}`).toContain(status);
    }
    const source = { name: 'a source', provider: 'hmac', secret, description };
    expect([500, 503], description).toContain((await tenant.request('POST', '/sources', source)).status);
  }
  for (const table of ['subscription', 'source']) {
    await database.query(`alter table ${table} drop constraint refused`);
    await database.query(`drop trigger break_connection on ${table}`);
  }
}

/** To subscribers that accept, refuse, are not there; and with a secret that cannot be decrypted. */
async function deliver(tenant: Client): Promise<void> {
  const subscribe = async (target_url: string): Promise<string> => {
    const fields = { target_url, event_types: ['paid'], retry_policy: { schedule: [1] } };
    const { status, body, text } = await tenant.request('POST', '/subscriptions', fields);
    expect(status, text).toBe(201);
    return body.id;
  };
  const accepting = await subscribe(`${simulator.url}/ok/paid`);
  await subscribe(`${simulator.url}/status/500`);
  await subscribe(`http://127.0.0.1:${await freePort()}/`);
  const broken = await subscribe(`${simulator.url}/ok/never`);
  await database.query(
    `update subscription set secret = (select secret from subscription where id = $1) where id = $2`,
    [accepting, broken],
  );
  const events = [1, 2, 3].map((n) => ({ event_type: 'paid', payload: { n }, idempotency_key: `key-${n}` }));
  const sent = await tenant.request('POST', '/events/batch', { events });
  expect(sent.status, sent.text).toBe(202);
  await waitFor(
    async () => {
      const { rows } = await database.query(
        'select status, count(*)::int from delivery group by 1 order by 1',
      );
      return rows.find(({ status }) => status === 'dead')?.count === 9;
    },
    { what: 'nine dead letters' },
  );
  expect((await tenant.request('GET', `/subscriptions/${broken}/secret`)).status).toBe(409);
}

/** Every GET of the OpenAPI document, with every id that any list shows. */
async function walk(admin: Client, tenant: Client): Promise<void> {
  const nobody = recording(client(posthorn.url), 'nobody');
  const document = await nobody.request('GET', '/docs-json');
  const operations = operationsOf(document.body).filter(({ method }) => method === 'GET');
  const keyFor = ({ isAdmin }: Operation): Client => (isAdmin ? admin : tenant);
  const ids = new Set<string>();
  walked = operations.map((operation) => ({ operation, statuses: new Set<number>() }));
  const visit = async ({ operation, statuses }: (typeof walked)[number], path: string): Promise<void> => {
    const { status, text } = await keyFor(operation).request('GET', path);
    statuses.add(status);
    for (const [id] of text.matchAll(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g)) ids.add(id);
  };
  const [single, flat] = [true, false].map((isSingle) =>
    walked.filter(({ operation }) => operation.path.includes('{') === isSingle),
  );
  const metrics = walked.find(({ operation }) => operation.path === '/metrics')!;
  for (const step of flat!) await visit(step, step.operation.path);
  await visit({ operation: { ...metrics.operation, isAdmin: true }, statuses: metrics.statuses }, '/metrics');
  for (const step of single!) {
    for (const id of [...ids].slice(0, 150)) await visit(step, pathWith(step.operation, id));
  }
}

/** Every column of every row of every table, as text. */
async function dump(): Promise<string> {
  const { rows: tables } = await database.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class
     where relkind = 'r' and relnamespace = 'public'::regnamespace`,
  );
  let text = '';
  for (const { name } of tables) {
    const { rows } = await database.query<{ text: string }>(`select row::text as text from ${name} row`);
    for (const row of rows) text += `${name} ${row.text}\n`;
  }
  return text;
}

function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => join(path, name));
}

describe('no secret is', () => {
  it('in the log', () => {
    for (const said of ['delivery.attempted', 'request.failed', 'secret.unreadable', '"level":"debug"']) {
      expect(log).toContain(said);
    }
    expect(leaksIn(log)).toEqual([]);
  });

  it('in what is written for people', () => {
    expect(posthorn.output()).toContain('is ready');
    expect(leaksIn(posthorn.output())).toEqual([]);
  });

  it('in any answer but those that are there to give one', () => {
    const leaks = answers
      .filter((recorded) => !isTelling(recorded))
      .flatMap(({ what, answer: { status, text, headers } }) =>
        leaksIn(text + JSON.stringify(headers)).map((leak) => `${what} ${status}: ${leak}`),
      );
    expect(leaks).toEqual([]);
    const statuses = new Set(answers.map(({ answer }) => answer.status));
    for (const status of [200, 201, 202, 400, 401, 403, 404, 415, 422, 500, 503]) {
      expect(statuses).toContain(status);
    }
  });

  it('in an answer that gives another one', () => {
    for (const recorded of answers.filter(isTelling)) {
      const others = ['encryption-key', 'admin-api-key', 'posthorn.password'];
      const allowed = new Set([...secrets].filter(([, what]) => !others.includes(what)).map(([key]) => key));
      expect(leaksIn(recorded.answer.text, allowed)).toEqual([]);
    }
  });

  it('missed because a route was not asked', () => {
    const unseen = walked.filter(({ statuses }) => ![...statuses].some((status) => status < 300));
    expect(unseen.map(({ operation }) => nameOf(operation))).toEqual([]);
    for (const path of ['/health', '/metrics', '/subscriptions', '/dlq']) {
      expect(walked.map(({ operation }) => operation.path)).toContain(path);
    }
  });

  it('sent to a subscriber', () => {
    expect(simulator.received.length).toBeGreaterThan(5);
    for (const { headers, body } of simulator.received) {
      expect(leaksIn(JSON.stringify(headers) + body.toString())).toEqual([]);
    }
  });

  it('in the database', () => {
    expect(dumped.match(/^subscription .*enc:v1:/gm)!.length).toBeGreaterThan(8);
    expect(dumped.match(/^source .*enc:v1:/gm)!.length).toBeGreaterThan(5);
    expect(leaksIn(dumped)).toEqual([]);
  });

  it('in the files of PostgreSQL, its log and its WAL, or beside them', () => {
    const files = filesIn(folder.path).filter((file) => {
      const stat = statSync(file, { throwIfNoEntry: false });
      return stat?.isFile() === true && stat.mtimeMs >= startedMs && !KEY_FILES.includes(basename(file));
    });
    expect(files.some((file) => file.includes('pg_wal'))).toBe(true);
    const leaks = files.flatMap((file) => {
      const bytes = readFileSync(file);
      return [...secrets]
        .filter(([secret]) => {
          const decoded = Buffer.from(secret.replace(/^(whsec|phs?)_/, ''), 'base64');
          return bytes.includes(secret) || bytes.includes(decoded.subarray(0, 16));
        })
        .map(([, what]) => `${what} in ${file}`);
    });
    expect(leaks).toEqual([]);
  });
});

it('this search would find one', () => {
  const secret = learn('a secret for this test', ownSecret());
  const bytes = Buffer.from(secret.slice(6), 'base64');
  for (const text of [
    `before ${secret} after`,
    `a piece: ${secret.slice(10, 10 + PIECE)}`,
    Buffer.from(`${secret} in bytea`).toString('hex'),
    `\\x${bytes.toString('hex')}`,
  ]) {
    expect(leaksIn(text)).toHaveLength(1);
  }
  expect(leaksIn(secret.slice(0, PIECE - 1))).toEqual([]);
});
