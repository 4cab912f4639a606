import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KeyRing, type SealedSecret } from '../../src/domain/encryption.js';
import { secretProblem } from '../../src/domain/signing-secret.js';
import {
  MissingEncryptionKey,
  protectSecrets,
  reencryptSecrets,
  requireNoSealedSecrets,
} from '../../src/persistence/secrets-at-rest.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { client, Posthorn, PosthornOptions, startPosthorn, TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

const OWN = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD4m3pN5Qz8wY=';
const OTHER = 'whsec_ZWluIGFuZGVyZXMgR2VoZWltbmlzIGbDvHIgVGVzdHM=';
const SEALED = /^enc:v1:[0-9a-f]{8}:[A-Za-z0-9+/]+={0,2}$/;

let simulator: Simulator;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(() => simulator.close());
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  simulator.clear();
});

async function start(options: PosthornOptions = {}): Promise<Posthorn & { rows: Rows }> {
  const posthorn = await startPosthorn(options);
  const rows = new Rows(posthorn.databaseUrl);
  closers.push(
    () => posthorn.stop(),
    () => rows.end(),
  );
  return { ...posthorn, rows };
}

async function database(): Promise<{ url: string; rows: Rows }> {
  const created = await createDatabase();
  const { url } = created;
  const rows = new Rows(url);
  closers.push(
    () => created.drop(),
    () => rows.end(),
  );
  return { url, rows };
}

interface Stored {
  id: string;
  tenant_id: string;
  secret: SealedSecret;
  previous_secret: SealedSecret | null;
}

const storedIn = (rows: Rows): Promise<Stored[]> =>
  rows.query<Stored & Record<string, unknown>>(
    'select id, tenant_id, secret, previous_secret from subscription order by id',
  );

const opened = (keys: KeyRing, { tenant_id: tenantId, id, secret, previous_secret }: Stored) => {
  const owner = { table: 'subscription', tenantId, id };
  return [keys.decrypt(secret, owner), previous_secret && keys.decrypt(previous_secret, owner)];
};

async function subscribe(tenant: TestTenant, fields: Record<string, unknown> = {}): Promise<any> {
  const { status, body, text } = await tenant.request('POST', '/subscriptions', {
    target_url: `${simulator.url}/ok`,
    ...fields,
  });
  expect(status, text).toBe(201);
  return body;
}

const secretOf = async (tenant: TestTenant, id: string): Promise<any> =>
  (await tenant.request('GET', `/subscriptions/${id}/secret`)).body;

it('every way to set a secret stores it encrypted, and the API answers it in plain text', async () => {
  const { rows, ...posthorn } = await start();
  const tenant = await posthorn.tenant();
  const keys = KeyRing.parse(ENCRYPTION_KEY);
  const { id, secret } = await subscribe(tenant);
  const check = async (present: string, previous: string | null) => {
    const [row] = await storedIn(rows);
    expect(row!.secret).toMatch(SEALED);
    if (previous !== null) expect(row!.previous_secret).toMatch(SEALED);
    expect(opened(keys, row!)).toEqual([present, previous]);
    expect(await secretOf(tenant, id)).toMatchObject({ secret: present, previous_secret: previous });
  };

  await check(secret, null);
  const path = `/subscriptions/${id}`;
  const rotated = await tenant.request('POST', `${path}/rotate-secret`, {});
  await check(rotated.body.secret, secret);
  // Ids are unique whatever their case, and the row of a secret is named by them.
  const shouted = `/subscriptions/${id.toUpperCase()}`;
  expect((await tenant.request('PATCH', shouted, { secret: OWN })).status).toBe(200);
  await check(OWN, null);
  const again = await tenant.request('POST', `${shouted}/rotate-secret`, { secret: OTHER });
  expect(again.body.secret).toBe(OTHER);
  await check(OTHER, OWN);
  await tenant.request('PUT', path, { target_url: `${simulator.url}/ok`, secret: 'a secret of my own' });
  await check('a secret of my own', null);
  const { id: second } = await subscribe(tenant, { secret: OWN });
  expect(await secretOf(tenant, second)).toMatchObject({
    secret: OWN,
    previous_secret: null,
    previous_secret_expires_at: null,
    previous_secrets: [],
  });
});

it('a previous secret that has expired is not given, though it can still be read', async () => {
  const { rows, ...posthorn } = await start();
  const tenant = await posthorn.tenant();
  const { id } = await subscribe(tenant, { secret: OWN });
  await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, { secret: OTHER });
  await rows.query('update subscription set previous_secret_expires_at = now()');
  expect(await secretOf(tenant, id)).toMatchObject({ secret: OTHER, previous_secret: null });
});

describe('a secret that cannot be decrypted', () => {
  it('fails the delivery visibly, keeps it, and a new secret mends it', async () => {
    const { rows, ...posthorn } = await start();
    const tenant = await posthorn.tenant();
    const [thief, victim] = [
      await subscribe(tenant, { secret: OWN, event_types: ['moved'], retry_policy: { schedule: [1] } }),
      await subscribe(tenant, { secret: OTHER, event_types: ['other'] }),
    ];
    // Somebody with write access to the database gives one row the ciphertext of another.
    await rows.query(
      `update subscription set secret = (select secret from subscription where id = $1) where id = $2`,
      [victim.id, thief.id],
    );
    const sent = await tenant.request('POST', '/events', { event_type: 'moved', payload: { n: 1 } });
    expect(sent.body).toMatchObject({ deliveries: 1 });
    const letter = await waitFor(async () => (await tenant.request('GET', '/dlq')).body.data[0], {
      what: 'the delivery to be dead',
    });
    const status = await tenant.request('GET', `/status/delivery/${letter.id}`);
    expect(status.body).toMatchObject({ status: 'dead' });
    for (const attempt of status.body.attempts) {
      expect(attempt.error).toBe(
        'secret_unreadable: the signing secret cannot be decrypted; the log of the service says why',
      );
    }
    expect(status.body.attempts).toHaveLength(2);
    expect(simulator.total).toBe(0);
    const refused = await tenant.request('GET', `/subscriptions/${thief.id}/secret`);
    expect(refused).toMatchObject({ status: 409, body: { code: 'secret_unreadable' } });
    expect(refused.body.detail).toContain('ENCRYPTION_KEY');
    // What cannot sign can have no overlap: nothing would be delivered until it is over.
    for (const body of [undefined, { overlap_seconds: 1 }]) {
      expect(await tenant.request('POST', `/subscriptions/${thief.id}/rotate-secret`, body)).toMatchObject({
        status: 409,
        body: { code: 'secret_unreadable' },
      });
    }
    expect((await tenant.request('GET', `/subscriptions/${thief.id}`)).status).toBe(200);

    // The worker goes on with others meanwhile.
    await tenant.request('POST', '/events', { event_type: 'other', payload: {} });
    await simulator.waitFor(1);

    const mended = { secret: OWN, overlap_seconds: 0 };
    await tenant.request('POST', `/subscriptions/${thief.id}/rotate-secret`, mended);
    expect(await secretOf(tenant, thief.id)).toMatchObject({ secret: OWN, previous_secret: null });
    expect((await storedIn(rows)).find(({ id }) => id === thief.id)!.previous_secret).toBeNull();
    expect((await tenant.request('POST', `/dlq/${letter.id}/retry`)).status).toBeLessThan(300);
    await simulator.waitFor(2);
    const { body, headers } = simulator.received[1]!;
    new Webhook(OWN).verify(body.toString(), headers as Record<string, string>);
  });

  it('for want of its key: events are taken in, and a worker that has the key delivers them', async () => {
    const { url } = await database();
    const first = await startPosthorn({ databaseUrl: url });
    const owner = await first.tenant();
    const { id } = await subscribe(owner, { secret: OWN, retry_policy: { schedule: [1, 1, 1, 1, 1, 1] } });
    await first.stop();

    const stranger = await startPosthorn({
      databaseUrl: url,
      env: { ENCRYPTION_KEY: KeyRing.generateKey() },
    });
    const tenant = { ...owner, ...client(stranger.url, owner.apiKey) };
    const { body: event } = await tenant.request('POST', '/events', { event_type: 'a', payload: {} });
    expect(event.deliveries).toBe(1);
    const { body: delivery } = await waitFor(
      async () => {
        const { body } = await tenant.request('GET', `/deliveries?subscription_id=${id}`);
        return body.data[0]?.status === 'retrying' && { body: body.data[0] };
      },
      { what: 'an attempt' },
    );
    await stranger.stop();

    const { url: api } = await start({ databaseUrl: url });
    await simulator.waitFor(1);
    const { body: status } = await client(api, owner.apiKey).request(
      'GET',
      `/status/delivery/${delivery.id}`,
    );
    expect(status.attempts[0].error).toMatch('secret_unreadable');
  });
});

describe('secrets in plain text, from before there was encryption', () => {
  const keys = KeyRing.parse(ENCRYPTION_KEY);

  it('are used as they are', async () => {
    const { rows, ...posthorn } = await start();
    const tenant = await posthorn.tenant();
    const { id } = await subscribe(tenant);
    await rows.query('update subscription set secret = $1', [OWN]);
    await waitFor(async () => (await secretOf(tenant, id)).secret === OWN, { what: 'the plain secret' });
    await tenant.request('POST', '/events', { event_type: 'a', payload: {} });
    await simulator.waitFor(1);
    const { body, headers } = simulator.received[0]!;
    new Webhook(OWN).verify(body.toString(), headers as Record<string, string>);
  });

  it('are all encrypted by several starts at once, while others change and go', async () => {
    const { rows, ...posthorn } = await start();
    const tenant = await posthorn.tenant();
    await rows.query(
      `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, previous_secret,
         previous_secret_expires_at, headers, metadata)
       select gen_random_uuid(), $1, 'http://127.0.0.1:9/', '{}', true, 'plain secret ' || n,
         case when n % 3 = 0 then 'older secret ' || n end, now(), '{}', '{}'
       from generate_series(1, 1800) n`,
      [tenant.id],
    );
    const before = new Map<string, (string | null)[]>(
      (await storedIn(rows)).map((row) => [row.id, [row.secret, row.previous_secret]]),
    );
    const ids = [...before.keys()];
    const change = async (): Promise<void> => {
      for (const [index, id] of ids.slice(-40).entries()) {
        if (index % 4 === 0) {
          await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, { secret: OTHER });
          before.set(id, [OTHER, before.get(id)![0]!]);
        } else if (index % 4 === 1) {
          await tenant.request('PATCH', `/subscriptions/${id}`, { secret: OWN });
          before.set(id, [OWN, null]);
        } else if (index % 4 === 2) {
          await tenant.request('DELETE', `/subscriptions/${id}`);
          before.delete(id);
        } else {
          await tenant.request('PATCH', `/subscriptions/${id}`, { description: 'changed' });
        }
      }
    };
    await Promise.all([
      change(),
      ...Array.from({ length: 3 }, () => protectSecrets(posthorn.databaseUrl, keys)),
    ]);

    const after = await storedIn(rows);
    for (const { secret, previous_secret } of after) {
      expect(secret).toMatch(SEALED);
      if (previous_secret !== null) expect(previous_secret).toMatch(SEALED);
    }
    expect(new Map(after.map((row) => [row.id, opened(keys, row)]))).toEqual(before);
    // The text of a user stays where it is, and nothing that is done is done again.
    await protectSecrets(posthorn.databaseUrl, keys);
    expect(await storedIn(rows)).toEqual(after);
  });

  it('are left alone beside one that cannot be read, which does not keep the service from starting', async () => {
    const { url, rows } = await database();
    const tenant = await rows.tenant();
    const [first, second] = [await rows.subscription(tenant), await rows.subscription(tenant)];
    await protectSecrets(url, keys);
    await rows.query(
      `update subscription set previous_secret = 'plain', secret = (select secret from subscription where id = $1)
       where id = $2`,
      [first, second],
    );
    await protectSecrets(url, keys);
    const stored = await storedIn(rows);
    expect(stored.find(({ id }) => id === second)!.previous_secret).toMatch(SEALED);
  });
});

describe('keys', () => {
  const [OLD, NEW] = [KeyRing.generateKey(), KeyRing.generateKey()];
  const [old, fresh, both] = [KeyRing.parse(OLD), KeyRing.parse(NEW), KeyRing.parse(`${NEW},${OLD}`)];
  const never = () => expect.unreachable();

  it('that are missing stop a start and a re-encryption, with their ids and what to do', async () => {
    const { url, rows } = await database();
    const tenant = await rows.tenant();
    await rows.subscription(tenant);
    await rows.subscription(tenant);
    await protectSecrets(url, old);
    for (const work of [() => protectSecrets(url, fresh), () => reencryptSecrets(url, fresh, never)]) {
      const error = (await work().then(never, (thrown: unknown) => thrown)) as Error;
      expect(error).toBeInstanceOf(MissingEncryptionKey);
      expect(error.message).toContain(`${old.firstId} (2 secrets)`);
      expect(error.message).toContain('Add the missing one to ENCRYPTION_KEY');
      for (const key of [OLD, NEW]) expect(error.message).not.toContain(key.slice(0, 10));
    }
  });

  it('are changed while the service runs, in batches, with interruptions; then the old one can go', async () => {
    const { url, rows } = await database();
    const { rows: _, ...posthorn } = await start({
      databaseUrl: url,
      env: { ENCRYPTION_KEY: `${NEW},${OLD}`, SWEEP_INTERVAL_SECONDS: '0.2' },
    });
    const tenant = await posthorn.tenant();
    const { id } = await subscribe(tenant, { secret: OWN });
    await tenant.request('POST', `/subscriptions/${id}/rotate-secret`, {
      secret: OTHER,
      overlap_seconds: 600,
    });
    await rows.query(
      `insert into subscription (id, tenant_id, target_url, event_types, is_active, secret, headers, metadata)
       select gen_random_uuid(), $1, 'http://127.0.0.1:9/', '{nothing}', true, 'plain secret ' || n, '{}', '{}'
       from generate_series(1, 1299) n`,
      [tenant.id],
    );
    await reencryptSecrets(url, KeyRing.parse(`${OLD},${NEW}`), () => undefined);
    const under = async (keys: KeyRing): Promise<number> =>
      (await storedIn(rows)).filter((row) => row.secret.includes(`:${keys.firstId}:`)).length;
    expect([await under(old), await under(fresh)]).toEqual([1300, 0]);

    const told: [number, number][] = [];
    const stopAtOnce = (...progress: [number, number]): void => {
      told.push(progress);
      throw new Error('interrupted');
    };
    await expect(reencryptSecrets(url, both, stopAtOnce)).rejects.toThrow('interrupted');
    expect(told).toEqual([[500, 1300]]);
    expect([await under(old), await under(fresh)]).toEqual([800, 500]);

    told.length = 0;
    const [result] = await Promise.all([
      reencryptSecrets(url, both, (...progress) => told.push(progress)),
      tenant.request('PATCH', `/subscriptions/${id}`, { description: 'meanwhile' }),
      tenant.request('POST', '/events', { event_type: 'a', payload: {} }),
    ]);
    expect(result).toEqual({ changed: 800, unreadable: [], replaced: [] });
    expect(told).toEqual([
      [500, 800],
      [800, 800],
    ]);
    expect(await reencryptSecrets(url, both, never)).toEqual({ changed: 0, unreadable: [], replaced: [] });
    await simulator.waitFor(1);
    await tenant.request('POST', '/events', { event_type: 'a', payload: {} });
    await simulator.waitFor(2);
    for (const { body, headers } of simulator.received) {
      for (const secret of [OWN, OTHER]) {
        new Webhook(secret).verify(body.toString(), headers as Record<string, string>);
      }
    }

    await protectSecrets(url, fresh);
    const next = await startPosthorn({ databaseUrl: url, env: { ENCRYPTION_KEY: NEW } });
    closers.push(() => next.stop());
    const answer = await client(next.url, tenant.apiKey).request('GET', `/subscriptions/${id}/secret`);
    expect(answer.body).toMatchObject({ secret: OTHER, previous_secret: OWN });
  });

  it('are changed around a secret that cannot be read, which is named', async () => {
    const { url, rows } = await database();
    const tenant = await rows.tenant();
    const ids = [await rows.subscription(tenant), await rows.subscription(tenant)];
    await protectSecrets(url, old);
    await rows.query(
      `update subscription set secret = (select secret from subscription where id = $1) where id = $2`,
      ids,
    );
    expect(await reencryptSecrets(url, both, () => undefined)).toEqual({
      changed: 1,
      unreadable: [{ table: 'subscription', tenantId: tenant, id: ids[1] }],
      replaced: [],
    });
    await expect(protectSecrets(url, fresh)).rejects.toThrow(`${old.firstId} (1 secret)`);
  });

  describe('of requests with an Idempotency-Key', () => {
    const store = (rows: Rows, count: number) =>
      rows.query(
        `insert into idempotent_request (id, tenant_id, key, fingerprint, seed, leased_until, created_at)
         select gen_random_uuid(), gen_random_uuid(), 'k', '', $1, now(), now() from generate_series(1, $2)`,
        [
          old.encrypt('a seed', { table: 'idempotent_request', tenantId: randomUUID(), id: randomUUID() }),
          count,
        ],
      );

    it('are not looked at when a process starts', async () => {
      const { url, rows } = await database();
      await store(rows, 1);
      expect(await protectSecrets(url, fresh)).toBe(0);
      await requireNoSealedSecrets(url, 'advice');
      await expect(reencryptSecrets(url, fresh, never)).rejects.toThrow(MissingEncryptionKey);
    });

    it('are forgotten in batches when they are lost', async () => {
      const { url, rows } = await database();
      await store(rows, 1_234);
      await rows.query(
        `create table batch (size int);
         create function note() returns trigger language plpgsql as
           'begin insert into batch select count(*) from gone; return null; end';
         create trigger note after delete on idempotent_request referencing old table as gone
           for each statement execute function note()`,
      );
      await reencryptSecrets(url, fresh, () => undefined, { replaceLost: true });
      expect(await rows.query('select from idempotent_request')).toEqual([]);
      const [batches] = await rows.query('select sum(size)::int as all, max(size) as largest from batch');
      expect(batches).toEqual({ all: 1_234, largest: 500 });
    });
  });

  it('that are lost: what no key opens gets a new secret when that is asked for, and nothing else does', async () => {
    const { url, rows } = await database();
    const tenant = await rows.tenant();
    const subscriptions = await Promise.all(Array.from({ length: 7 }, () => rows.subscription(tenant)));
    const [lost, kept, moved, later, mixed, plain, reversed] = subscriptions as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const source = randomUUID();
    await rows.query(
      `insert into source (id, tenant_id, name, provider, settings, secret, is_active, allowed_ips)
       values ($1, $2, 'stripe', 'stripe', '{}', 'chosen by Stripe', true, '{}')`,
      [source, tenant],
    );
    await rows.query('create table spare as select * from subscription where id = any($1)', [
      [kept, moved, mixed, plain, reversed],
    ]);
    await rows.query('delete from subscription where id in (select id from spare)');
    await protectSecrets(url, old);
    const under = async (keys: KeyRing, id: string, secret: string, column: string): Promise<void> => {
      const sealed = keys.encrypt(secret, { table: 'subscription', tenantId: tenant, id });
      await rows.query(`update subscription set ${column} = $1 where id = $2`, [sealed, id]);
    };
    await rows.query('insert into subscription select * from spare');
    await under(fresh, kept, OWN, 'secret');
    await rows.query(
      'update subscription set secret = (select secret from subscription where id = $1) where id = $2',
      [kept, moved],
    );
    await rows.query(`update subscription set secret = replace(secret, 'enc:v1', 'enc:v2') where id = $1`, [
      later,
    ]);
    await under(fresh, mixed, OTHER, 'secret');
    await under(old, mixed, OWN, 'previous_secret');
    await under(old, reversed, OTHER, 'secret');
    await under(fresh, reversed, OWN, 'previous_secret');
    const before = await storedIn(rows);

    await expect(protectSecrets(url, fresh)).rejects.toThrow(MissingEncryptionKey);
    await expect(reencryptSecrets(url, fresh, never)).rejects.toThrow(MissingEncryptionKey);
    expect(await storedIn(rows)).toEqual(before);

    const told: [number, number][] = [];
    const { changed, unreadable, replaced } = await reencryptSecrets(url, fresh, (...now) => told.push(now), {
      replaceLost: true,
    });
    const name = (table: string, id: string) => ({ table, tenantId: tenant, id });
    expect(replaced).toHaveLength(5);
    expect(replaced).toEqual(
      expect.arrayContaining([
        ...[lost, moved, later, reversed].map((id) => name('subscription', id)),
        name('source', source),
      ]),
    );
    expect({ changed, unreadable, told }).toEqual({
      changed: 2,
      unreadable: [],
      told: [
        [7, 8],
        [8, 8],
      ],
    });

    const after = new Map((await storedIn(rows)).map((row) => [row.id, row]));
    expect(after.get(kept)).toEqual(before.find(({ id }) => id === kept));
    expect(opened(fresh, after.get(mixed)!)).toEqual([OTHER, null]);
    expect(opened(fresh, after.get(plain)!)).toEqual([expect.stringMatching(/^whsec_/), null]);
    const made = [lost, moved, later, reversed].map((id) => {
      const [secret, previous] = opened(fresh, after.get(id)!);
      expect(secretProblem(secret)).toBeNull();
      expect(previous).toBeNull();
      return secret;
    });
    expect(new Set([...made, OWN, OTHER]).size).toBe(6);
    await protectSecrets(url, fresh);
    const again = await reencryptSecrets(url, fresh, () => undefined, { replaceLost: true });
    expect(again).toEqual({ changed: 0, unreadable: [], replaced: [] });
  });

  it('that nobody needs are not asked for', async () => {
    const { url, rows } = await database();
    const tenant = await rows.tenant();
    await rows.subscription(tenant);
    await requireNoSealedSecrets(url, 'advice');
    expect([await protectSecrets(url, old), await protectSecrets(url, old)]).toEqual([1, 0]);
    await expect(requireNoSealedSecrets(url, 'advice')).rejects.toThrow(`${old.firstId} (1 secret). advice`);
    // As it is before the first migration.
    await rows.query('drop table source, subscription cascade');
    await requireNoSealedSecrets(url, 'advice');
  });
});
