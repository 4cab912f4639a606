import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';
import { LoopbackServer } from '../unit/delivery/loopback-server.js';

/** What a subscriber answers in ways of its own, as far as the API and the search show it. */

let posthorn: Posthorn;
let subscriber: LoopbackServer;
let tenant: TestTenant;
let answerWith: string;

beforeAll(async () => {
  posthorn = await startPosthorn();
  subscriber = await LoopbackServer.start((socket) => void socket.end(answerWith));
});
afterAll(async () => {
  await posthorn.stop();
  await subscriber.stop();
});
beforeEach(async () => {
  tenant = await posthorn.tenant();
});

/** @returns the delivery of an event once there is an attempt that was answered so */
async function deliveryAnswered(answer: string, subscription: object = {}) {
  answerWith = answer;
  const target = { target_url: subscriber.url, ...subscription };
  expect((await tenant.request('POST', '/subscriptions', target)).status).toBe(201);
  const event = { event_type: 'a', payload: {} };
  const { body } = await tenant.request('POST', '/events', event);
  const attempted = async () => {
    const { data } = (await tenant.request('GET', `/deliveries?event_id=${body.id}`)).body;
    const delivery = (await tenant.request('GET', `/status/delivery/${data[0].id}`)).body;
    return delivery.attempts.length > 0 && delivery;
  };
  return waitFor(attempted, { what: 'an attempt' });
}

it('a delivery whose answer had no end is delivered, and says so in a note that is no error', async () => {
  const delivery = await deliveryAnswered('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthank you');
  expect(delivery).toMatchObject({ status: 'delivered', last_status_code: 200, last_error: null });
  expect(delivery.attempts).toMatchObject([
    {
      success: true,
      error: null,
      note: 'the answer was not complete: the connection was closed',
      response_body: 'thank you',
    },
  ]);
});

it.each([600, 777, 999])('a delivery that was answered %i is found by it', async (code) => {
  const delivery = await deliveryAnswered(`HTTP/1.1 ${code} Odd\r\ncontent-length: 0\r\n\r\n`);
  expect(delivery).toMatchObject({ last_status_code: code, attempts: [{ success: false, note: null }] });
  const found = async (status_code: number) =>
    (await tenant.request('POST', '/webhooks/search', { status_code })).body.data.map(
      ({ id }: { id: string }) => id,
    );
  expect(await found(code)).toEqual([delivery.id]);
  expect(await found(code - 1)).toEqual([]);
});

it.each([
  ['anything', {}, '*/*'],
  ['what the subscription says', { headers: { Accept: 'text/plain' } }, 'text/plain'],
])('a subscriber is told that it may answer %s', async (_, subscription, accepted) => {
  const sofar = subscriber.requests.length;
  await deliveryAnswered('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', subscription);
  const [head = ''] = subscriber.requests[sofar]!.split('\r\n\r\n');
  const accepts = head.split('\r\n').filter((line) => /^accept:/i.test(line));
  expect(accepts.map((line) => line.slice(line.indexOf(':') + 1).trim())).toEqual([accepted]);
});
