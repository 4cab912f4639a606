import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { setImmediate as afterSockets, setTimeout as after } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { ChangeFeed } from '../../src/persistence/change-feed.js';
import { KeyCache, sha256Of } from '../../src/persistence/key-cache.js';
import { migrate } from '../../src/persistence/migrate.js';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.js';
import { client, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

/** Of its own: its processes are stopped here. */
let postgres: OwnPostgres;
let rows: Rows;
let posthorn: Posthorn;
/** Another process on the same database. */
let replica: Posthorn;
let tenant: TestTenant;
/** Of the server's process at the other end of the connection on which `replica` listens. */
let backend: number;
const stopped: number[] = [];

beforeAll(async () => {
  postgres = await startOwnPostgres();
  await migrate(postgres.url);
  rows = new Rows(postgres.url);
  replica = await startPosthorn({ databaseUrl: postgres.url });
  [{ pid: backend }] = (await listening()) as [Listening];
  posthorn = await startPosthorn({ databaseUrl: postgres.url });
  tenant = await posthorn.tenant();
});
afterEach(resumeAll);
afterAll(async () => {
  await posthorn.stop();
  await replica.stop();
  await rows.end();
  await postgres.stop();
});

interface Listening {
  pid: number;
  /** When it was last asked for something. */
  asked_at: Date;
}

const listening = (): Promise<Listening[]> =>
  rows.query<Listening & { query_start: Date }>(
    `select pid, query_start as asked_at from pg_stat_activity
     where application_name = 'posthorn changes' order by backend_start`,
  );

/** Until the server says that it was asked after this. */
const askedAgain = (since: Date): Promise<Listening> =>
  waitFor(
    async () =>
      (await listening()).find(
        ({ pid, asked_at }) => pid === backend && asked_at.getTime() > since.getTime(),
      ),
    { what: 'a sign that it still listens' },
  );

function stop(pid: number): void {
  process.kill(pid, 'SIGSTOP');
  stopped.push(pid);
}

function resumeAll(): void {
  for (const pid of stopped.splice(0)) process.kill(pid, 'SIGCONT');
}

const feed = (): ChangeFeed => replica.app.get(ChangeFeed, { strict: false });

it('is not lost while the process itself is held up', async () => {
  let gaps = 0;
  feed().subscribe(
    () => undefined,
    () => gaps++,
  );
  let lastAsked: Date;
  let heldMs: number;
  do {
    gaps = 0;
    const [{ asked_at: firstAsked }] = (await listening()) as [Listening];
    ({ asked_at: lastAsked } = await askedAgain(firstAsked));
    // The next question is asked, and answered only when nobody is there to hear it.
    const from = performance.now();
    stop(backend);
    await after(350);
    // Held up after sockets were read, which is when timers come first.
    await afterSockets();
    resumeAll();
    heldMs = performance.now() - from;
    // A machine that is busy may have held the server up for so long that it was rightly given up.
  } while (heldMs > 480);
  for (const from = performance.now(); performance.now() - from < 800;);
  const { asked_at: thenAsked } = await askedAgain(lastAsked);
  await askedAgain(thenAsked);
  expect(gaps).toBe(0);
});

it('is not relied on by a process that was held up for more than a second, until it is heard of again', async () => {
  const key = (await tenant.request('POST', '/api-keys', { name: 'a key', scopes: ['read'] })).body.api_key;
  const keys = replica.app.get(KeyCache, { strict: false });
  const isKnown = () => feed().isListening && !(keys.owner(sha256Of(key)) instanceof Promise);
  await waitFor(async () => (await keys.owner(sha256Of(key))) !== undefined && isKnown(), {
    what: 'it to be known',
  });

  const from = performance.now();
  revokeElsewhere(key);
  while (performance.now() - from < 1_100);
  // As a request whose socket is read before that of the feed.
  expect(feed().isListening).toBe(false);
  expect(await keys.owner(sha256Of(key))).toBeUndefined();

  await waitFor(() => feed().isListening, { what: 'a sign that it still listens' });
  expect(keys.owner(sha256Of(tenant.apiKey))).toBeDefined();
});

/** By another process, while this one does nothing but wait for it. */
function revokeElsewhere(key: string): void {
  const script = `
    import pg from 'pg';
    const client = new pg.Client(process.argv[1]);
    await client.connect();
    await client.query('delete from api_key where key_hash = $1', [Buffer.from(process.argv[2], 'hex')]);
    await client.end();`;
  const values = [postgres.url, hash('sha256', key, 'hex')];
  const done = spawnSync(process.execPath, ['--input-type=module', '--eval', script, '--', ...values]);
  expect(done.status, String(done.stderr)).toBe(0);
}

it('is known to be dead in time for a key that is revoked to be refused after a second', async () => {
  const { body: revoked } = await tenant.request('POST', '/api-keys', { name: 'a key', scopes: ['read'] });
  const elsewhere = client(replica.url, revoked.api_key);
  const status = async (): Promise<number> => (await elsewhere.request('GET', '/events')).status;
  expect(await status()).toBe(200);
  stop(backend);
  expect((await tenant.request('DELETE', `/api-keys/${revoked.id}`)).status).toBe(204);
  const since = performance.now();
  let lastTakenMs = 0;
  await waitFor(
    async () => {
      const askedMs = performance.now() - since;
      if ((await status()) === 401) return true;
      lastTakenMs = askedMs;
      return false;
    },
    { what: 'it to be refused' },
  );
  // Without the change being heard: it is remembered for as long as the connection might be alive.
  expect(lastTakenMs).toBeLessThan(1_000);
  await waitFor(() => feed().isListening, { what: 'another connection' });
  expect(await status()).toBe(401);
});
