import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { SubscriptionRepository } from '../../src/persistence/repositories/subscription.repository.js';
import { client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

interface Arrival {
  path: string;
  headers: Record<string, string>;
  body: string;
}

let posthorn: Posthorn;
let tenant: TestTenant;
let server: Server;
let url: string;
const arrivals: Arrival[] = [];
/** Let go what waits for its answer. */
const held: (() => void)[] = [];

/** How the target answers, by path. */
const ANSWERS: Record<string, (challenge: string, body: string) => [status: number, body: string]> = {
  '/text': (challenge) => [200, challenge],
  '/held': (challenge) => [200, challenge],
  '/json': (challenge) => [202, JSON.stringify({ challenge })],
  '/deaf': () => [200, 'ok'],
  '/mirror': (_, body) => [200, body],
  '/missing': (challenge) => [404, challenge],
};

beforeAll(async () => {
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  // A third of the connections is what the changes of one tenant may take: three at once, so that they meet.
  posthorn = await startPosthorn({ env: { TARGET_VERIFICATION: 'required', DATABASE_POOL_SIZE: '9' } });
});
afterAll(async () => {
  await posthorn.stop();
  server.close();
  server.closeAllConnections();
});
beforeEach(async () => {
  arrivals.length = 0;
  tenant = await posthorn.tenant();
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const path = (request.url ?? '').replace(/\?.*/, '');
  arrivals.push({ path, headers: request.headers as Record<string, string>, body });
  const { challenge = '' } = JSON.parse(body) as { challenge?: string };
  if (path === '/held') await new Promise<void>((resolve) => held.push(resolve));
  const [status, text] = ANSWERS[path]?.(challenge, body) ?? [200, ''];
  response.writeHead(status).end(text);
}

const subscribe = async (path: string, fields: object = {}) =>
  (await tenant.request('POST', '/subscriptions', { target_url: url + path, ...fields })).body;

async function settled(id: string) {
  return waitFor(
    async () => {
      const { body } = await tenant.request('GET', `/subscriptions/${id}`);
      return body.verification === 'pending' ? undefined : body;
    },
    { what: 'the challenge to be settled' },
  );
}

it.each([
  ['/text', 'verified', null],
  ['/json', 'verified', null],
  ['/deaf', 'failed', 'the body of the answer is not the challenge'],
  ['/mirror', 'failed', 'the body of the answer is not the challenge'],
  ['/missing', 'failed', 'HTTP 404'],
])('a target that answers as %s is %s', async (path, verification, verification_reason) => {
  const { id, secret, verification: first } = await subscribe(path);
  expect(first).toBe('pending');
  expect(await settled(id)).toMatchObject({ verification, verification_reason });
  const { headers, body } = arrivals[0]!;
  expect(headers).toMatchObject({ 'x-webhook-event': 'posthorn.challenge' });
  expect(new Webhook(secret).verify(body, headers)).toMatchObject({ type: 'posthorn.challenge' });
});

it('deliveries wait for the target to be verified, and none is lost', async () => {
  const { id } = await subscribe('/deaf');
  await settled(id);
  expect((await tenant.request('POST', '/events', { event_type: 'a', payload: {} })).body.deliveries).toBe(1);
  expect((await tenant.request('POST', `/subscriptions/${id}/verify`)).status).toBe(202);
  await settled(id);
  expect(arrivals.map(({ headers }) => headers['x-webhook-event'])).toEqual(
    Array(2).fill('posthorn.challenge'),
  );

  await tenant.request('PATCH', `/subscriptions/${id}`, { target_url: `${url}/text` });

  await waitFor(() => arrivals.some(({ headers }) => headers['x-webhook-event'] === 'a'), {
    what: 'the delivery that waited',
  });
  expect(await settled(id)).toMatchObject({ verification: 'verified' });
  const { status, body } = await tenant.request('PATCH', `/subscriptions/${id}`, { description: 'mine' });
  expect({ status, verification: body.verification }).toEqual({ status: 200, verification: 'verified' });
});

type Change = (id: string) => Promise<unknown>;
const patch =
  (path: string): Change =>
  (id) =>
    tenant.request('PATCH', `/subscriptions/${id}`, { target_url: url + path });

it.each<[string, (first: string) => Promise<unknown>]>([
  [
    'POST /verify',
    (id) => tenant.request('POST', `/subscriptions/${id}/verify`).then(() => settledOrWaiting(id)),
  ],
  ['PATCH of the target', (id) => patch(`/deaf?${arrivals.length}`)(id).then(() => settledOrWaiting(id))],
  [
    'creating and deleting',
    async () => {
      const { id } = await subscribe('/deaf');
      await settledOrWaiting(id);
      await tenant.request('DELETE', `/subscriptions/${id}`);
    },
  ],
])('a destination gets few challenges of a tenant, whatever asks for them: %s', async (_, ask) => {
  const { id } = await subscribe('/deaf');
  const startedAt = performance.now();
  for (let count = 0; count < 15; count++) await ask(id);
  // Ten at once, and one each two seconds.
  expect(arrivals.length).toBeGreaterThanOrEqual(10);
  expect(arrivals.length).toBeLessThanOrEqual(10 + Math.floor((performance.now() - startedAt) / 2_000) + 1);
  expect((await subscribe('/deaf')).verification).toBe('pending');
});

/** Once ten challenges have come, the next ones wait. */
async function settledOrWaiting(id: string): Promise<void> {
  if (arrivals.length < 10) await settled(id);
}

it('the answer of a target that was changed meanwhile does not verify the new one', async () => {
  const { id } = await subscribe('/held');
  const release = await waitFor(() => held.pop(), { what: 'the challenge of the first target' });
  await patch('/deaf')(id);
  release();
  expect(await settled(id)).toMatchObject({ target_url: `${url}/deaf`, verification: 'failed' });
});

it('a target that is given again does not take over what another one has answered meanwhile', async () => {
  const { id } = await subscribe('/deaf');
  await settled(id);
  const repository = posthorn.app.get(SubscriptionRepository, { strict: false });
  const find = repository.find.bind(repository);
  let goOn = (): void => undefined;
  const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
  let hasRead = false;
  repository.find = async (...which) => {
    repository.find = find;
    const found = await find(...which);
    hasRead = true;
    await mayGoOn;
    return found;
  };
  const again = patch('/deaf')(id);
  await waitFor(() => hasRead, { what: 'the first change to have read its subscription' });
  await patch('/text')(id);
  expect(await settled(id)).toMatchObject({ verification: 'verified' });
  goOn();
  await again;
  expect(await settled(id)).toMatchObject({ target_url: `${url}/deaf`, verification: 'failed' });
});

it.each<[string, Change[]]>([
  ['two changes of the target', [patch('/deaf'), patch('/text')]],
  ['a change of the target and its repetition', [patch('/deaf'), patch('/deaf'), patch('/text')]],
  [
    'a change and a challenge',
    [patch('/deaf'), (id) => tenant.request('POST', `/subscriptions/${id}/verify`)],
  ],
])('%s at the same time leave no target verified that was not asked', async (_, changes) => {
  for (let round = 0; round < 5; round++) {
    tenant = await posthorn.tenant();
    const { id } = await subscribe('/text');
    await settled(id);
    await Promise.all(changes.map((change) => change(id)));
    const { target_url, verification } = await settled(id);
    expect(verification).toBe(target_url === `${url}/text` ? 'verified' : 'failed');
  }
});

it('a target that was changed while none was asked is not the one that was verified', async () => {
  const { id } = await subscribe('/text');
  await settled(id);
  const lax = await startPosthorn({ databaseUrl: posthorn.databaseUrl });
  try {
    const { status, body } = await client(lax.url, tenant.apiKey).request('PATCH', `/subscriptions/${id}`, {
      target_url: `${url}/deaf`,
    });
    expect({ status, verification: body.verification }).toEqual({
      status: 200,
      verification: 'not_required',
    });
  } finally {
    await lax.stop();
  }
});
