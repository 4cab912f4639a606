import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { AddressRules } from '../../src/domain/target-address.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Posthorn, startPosthorn } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

let simulator: Simulator;
let posthorn: Posthorn;

beforeAll(async () => {
  // The network of the operator is exempt, and all that a test can call is allowed as such.
  vi.spyOn(AddressRules.prototype, 'isOfOperator').mockReturnValue(false);
  simulator = await startSimulator();
  posthorn = await startPosthorn({
    env: { DESTINATION_RATE_LIMIT: '40', ALLOW_TARGET_RANGES: '127.0.0.0/8,::1' },
  });
});
afterAll(async () => {
  await posthorn.stop();
  await simulator.close();
  vi.restoreAllMocks();
});

it('spreads what exceeds the limit of a destination, spends no attempt on it, and lets another tenant through', async () => {
  const [flooder, other] = [await posthorn.tenant('flooder'), await posthorn.tenant('other')];
  const { port } = new URL(simulator.url);
  // One address, whatever it is called.
  for (const host of ['127.0.0.1', 'a.localhost', 'b.localhost.']) {
    const target_url = `http://${host}:${port}/ok/flood`;
    expect((await flooder.request('POST', '/subscriptions', { target_url })).status).toBe(201);
  }
  await other.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok/other` });
  const events = Array.from({ length: 20 }, (_, index) => ({ event_type: 'flood', payload: index }));

  await flooder.request('POST', '/events/batch', { events });
  await simulator.waitFor(1);
  await other.request('POST', '/events', { event_type: 'one', payload: 1 });

  await simulator.waitFor(61);
  const order = simulator.received.map(({ path }) => path);
  expect(order.indexOf('/ok/other')).toBeLessThan(60);
  const arrivals = simulator.received
    .filter(({ path }) => path !== '/ok/other')
    .map(({ arrivedAt }) => arrivedAt);
  // Half of 40 a second for one tenant: 20 at once, and a second for each 20 after them.
  expect(arrivals[59]! - arrivals[0]!).toBeGreaterThan(1_900);
  const { body } = await waitFor(
    async () => {
      const answer = await flooder.request('GET', '/deliveries?limit=100');
      return answer.body.data.every(({ status }: { status: string }) => status === 'delivered') && answer;
    },
    { what: 'all deliveries to be delivered' },
  );
  expect(body.data).toHaveLength(60);
  expect(new Set(body.data.map((delivery: { attempt_count: number }) => delivery.attempt_count))).toEqual(
    new Set([1]),
  );
});
