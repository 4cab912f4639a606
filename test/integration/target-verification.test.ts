import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
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

/** How the target answers, by path. */
const ANSWERS: Record<string, (challenge: string, body: string) => [status: number, body: string]> = {
  '/text': (challenge) => [200, challenge],
  '/json': (challenge) => [202, JSON.stringify({ challenge })],
  '/deaf': () => [200, 'ok'],
  '/mirror': (_, body) => [200, body],
  '/missing': (challenge) => [404, challenge],
};

beforeAll(async () => {
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  posthorn = await startPosthorn({ env: { TARGET_VERIFICATION: 'required' } });
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
  const path = request.url ?? '';
  arrivals.push({ path, headers: request.headers as Record<string, string>, body });
  const { challenge = '' } = JSON.parse(body) as { challenge?: string };
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

it('a target is asked again only so often', async () => {
  const { id } = await subscribe('/deaf');
  const statuses: number[] = [];
  for (let count = 0; count < 4; count++) {
    statuses.push((await tenant.request('POST', `/subscriptions/${id}/verify`)).status);
  }
  expect(statuses).toEqual([202, 202, 202, 429]);
});
