import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KeyRing } from '../../src/domain/encryption.js';
import { reencryptSecrets } from '../../src/persistence/secrets-at-rest.js';
import { SourceCache } from '../../src/persistence/source-cache.js';
import { SubscriptionCache } from '../../src/persistence/subscription-cache.js';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { waitFor } from '../support/wait-for.js';

/** A rotation that is repeated, or comes before the one before it is over, ends no secret that is still in use. */

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let rows: Rows;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  rows = new Rows(posthorn.databaseUrl);
  tenant = await posthorn.tenant();
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
  await simulator.close();
});

interface Secrets {
  secrets(nowMs: number): string[];
}

describe.each([
  {
    table: 'subscription',
    path: '/subscriptions',
    fields: () => ({ target_url: `${simulator.url}/ok` }),
    valid: async (id: string): Promise<Secrets> =>
      (await posthorn.app.get(SubscriptionCache, { strict: false }).find(tenant.id, id))!,
  },
  {
    table: 'source',
    path: '/sources',
    fields: () => ({ name: 'a source', provider: 'hmac' }),
    valid: async (id: string): Promise<Secrets> =>
      (await posthorn.app.get(SourceCache, { strict: false }).find(id))!,
  },
])('the secrets of a $table', ({ table, path, fields, valid }) => {
  const make = async (): Promise<{ id: string; secret: string }> => {
    const { status, body, text } = await tenant.request('POST', path, fields());
    expect(status, text).toBe(201);
    return body as { id: string; secret: string };
  };
  const rotate = (id: string, overlap_seconds: number) =>
    tenant.request('POST', `${path}/${id}/rotate-secret`, { overlap_seconds });
  const secretsAt = async (id: string, nowMs: number) => (await valid(id)).secrets(nowMs);

  it('are all valid until their own ends, the newest first', async () => {
    const { id, secret: first } = await make();
    const now = Date.now();
    const second = (await rotate(id, 3_600)).body.secret as string;
    const third = (await rotate(id, 600)).body.secret as string;
    const fourth = (await rotate(id, 60)).body.secret as string;
    expect(await secretsAt(id, now)).toEqual([fourth, third, second, first]);
    expect(await secretsAt(id, now + 300_000)).toEqual([fourth, second, first]);
    expect(await secretsAt(id, now + 1_800_000)).toEqual([fourth, first]);
    expect(await secretsAt(id, now + 7_200_000)).toEqual([fourth]);
  });

  it('are five at the most, and the sixth is refused with the time at which there is room', async () => {
    const { id, secret: first } = await make();
    const seconds = [600, 60, 3_600, 700];
    for (const overlap of seconds) expect((await rotate(id, overlap)).status).toBe(200);
    const before = await secretsAt(id, Date.now());
    expect(before).toHaveLength(5);
    const refused = await rotate(id, 600);
    expect(refused).toMatchObject({ status: 409, body: { code: 'conflict' } });
    const told = Date.parse(/ends at (\S+):/.exec(refused.body.detail)![1]!);
    expect(Math.abs(told - Date.now() - 60_000)).toBeLessThan(30_000);
    expect(await secretsAt(id, Date.now())).toEqual(before);

    // The one that ends first has ended.
    await rows.query(
      `update ${table} set older_secrets = jsonb_set(older_secrets, '{1,expires_at}', '"2026-01-01T00:00:00Z"') where id = $1`,
      [id],
    );
    const { status, body } = await rotate(id, 600);
    expect(status).toBe(200);
    const after = await secretsAt(id, Date.now());
    expect(after).toHaveLength(5);
    expect([after[0], after.at(-1)]).toEqual([body.secret, first]);
  });

  it('end all at once for a new one without an overlap', async () => {
    const { id } = await make();
    for (const overlap of [600, 600]) await rotate(id, overlap);
    const { body } = await rotate(id, 0);
    expect(await secretsAt(id, Date.now())).toEqual([body.secret]);
  });

  it('end all with one that a process from before several were kept has set', async () => {
    const { id } = await make();
    for (const overlap of [600, 600]) await rotate(id, overlap);
    const [newest] = await secretsAt(id, Date.now());
    await rows.query(
      `update ${table} set previous_secret = null, previous_secret_expires_at = null where id = $1`,
      [id],
    );
    await waitFor(async () => (await secretsAt(id, Date.now())).length === 1, { what: 'the change' });
    expect(await secretsAt(id, Date.now())).toEqual([newest]);
  });

  it('are encrypted anew with the others', async () => {
    const { id } = await make();
    for (const overlap of [600, 600, 600]) await rotate(id, overlap);
    const before = await secretsAt(id, Date.now());
    const fresh = KeyRing.generateKey();
    const both = KeyRing.parse(`${fresh},${ENCRYPTION_KEY}`);
    await reencryptSecrets(posthorn.databaseUrl, both, () => undefined);
    const stored = async () =>
      (
        await rows.query<{ text: string }>(`select ${table}::text as text from ${table} where id = $1`, [id])
      )[0]!.text;
    const old = KeyRing.parse(ENCRYPTION_KEY);
    expect(await stored()).toContain(both.firstId);
    expect(await stored()).not.toContain(old.firstId);
    await reencryptSecrets(
      posthorn.databaseUrl,
      KeyRing.parse(`${ENCRYPTION_KEY},${fresh}`),
      () => undefined,
    );
    expect(await stored()).not.toContain(both.firstId);
    expect(await secretsAt(id, Date.now())).toEqual(before);
  });
});

it('every one of them signs a delivery', async () => {
  const { body } = await tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok/all` });
  const secrets = [body.secret as string];
  for (let time = 0; time < 3; time++) {
    secrets.push((await tenant.request('POST', `/subscriptions/${body.id}/rotate-secret`)).body.secret);
  }
  await tenant.request('POST', `/subscriptions/${body.id}/test`);
  const arrived = await waitFor(() => simulator.receivedOn('/ok/all')[0], {
    what: 'the delivery',
  });
  for (const secret of secrets) {
    const headers = arrived.headers as Record<string, string>;
    expect(() => new Webhook(secret).verify(arrived.body.toString(), headers)).not.toThrow();
  }
});
