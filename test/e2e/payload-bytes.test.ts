import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { jsonText } from '../support/json-text.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let subscriptionId: string;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  const { body } = await tenant.request('POST', '/subscriptions', {
    target_url: `${simulator.url}/ok/exact`,
  });
  subscriptionId = body.id;
});
afterAll(async () => {
  await posthorn.stop();
  await simulator.close();
});

it.each([
  ['POST /events', '/events', (payload: string) => `{"event_type":"a","payload":${payload}}`],
  [
    'POST /events/batch',
    '/events/batch',
    (payload: string) => `{"events":[{"event_type":"a","payload":${payload}}]}`,
  ],
  [
    'POST /webhooks/ingest/{id}',
    '/webhooks/ingest/:id',
    (payload: string) => `{"event":"a","data":${payload}}`,
  ],
])('takes a byte order mark before the body of %s for no part of it', async (_, path, bodyWith) => {
  simulator.clear();
  const payload = '{ "big": 12345678901234567890, "mark": "\ufeff" }';
  const url = path.replace(':id', subscriptionId);
  const answer = await tenant.request('POST', url, Buffer.from(`\ufeff ${bodyWith(payload)}`));
  expect(answer.status, answer.text).toBe(202);
  await simulator.waitFor(1);
  expect(simulator.received[0]!.body.toString()).toBe(payload);

  const utf16 = await tenant.request('POST', url, Buffer.from(`\ufeff${bodyWith(payload)}`, 'utf16le'));
  expect([utf16.status, utf16.body.code]).toEqual([400, 'malformed_json']);
  expect(utf16.body.detail).toContain('UTF-16LE');
});

it('delivers any JSON text byte for byte, by each way in', async () => {
  await fc.assert(
    fc.asyncProperty(jsonText, fc.constantFrom('', ' ', '\n\t'), async (payload, gap) => {
      simulator.clear();
      const [single, direct, batch] = await Promise.all([
        tenant.request('POST', '/events', `{"payload":${gap}${payload}${gap},"event_type":"a"}`),
        tenant.request(
          'POST',
          `/webhooks/ingest/${subscriptionId}`,
          `${gap}{"event":"a"${gap},"d\\u0061ta":${payload}}${gap}`,
        ),
        tenant.request(
          'POST',
          '/events/batch',
          `{"events":${gap}[{"event_type":"a","payload":${gap}${payload}},${gap}{"event_type":"a","payload":[${payload}]}]}`,
        ),
      ]);
      expect([single.status, direct.status, batch.status]).toEqual([202, 202, 202]);
      const expected = new Map<string, string>([
        [single.body.id, payload],
        [direct.body.id, payload],
        [batch.body.results[0].id, payload],
        [batch.body.results[1].id, `[${payload}]`],
      ]);
      await simulator.waitFor(expected.size);
      const arrived = new Map(
        simulator.received.map(({ headers, body }) => [headers['webhook-id'], body.toString('utf8')]),
      );
      expect(arrived).toEqual(expected);

      const { text } = await tenant.request('GET', `/events/${single.body.id}`);
      expect(text).toContain(`"payload":${payload}`);
    }),
    { numRuns: 100 },
  );
});
