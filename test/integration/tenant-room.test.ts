import { afterAll, beforeAll, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** However many silent subscriptions one tenant has, the deliveries of another one find a place in the worker. */

const TIMEOUT_MS = 3_000;
const SILENT = 300;
const DUE_FOR_EACH = 16;
/** Far fewer places than there are deliveries due: 50 timeouts go by until each of those had one. */
const WORKER_COUNT = 128;

let simulator: Simulator;
let posthorn: Posthorn;
beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn({
    env: { WORKER_COUNT: String(WORKER_COUNT), DELIVERY_TIMEOUT_MS: String(TIMEOUT_MS) },
  });
});
afterAll(async () => {
  await posthorn.stop();
  await simulator.close();
});

/** Each subscription wants a type of its own. */
const typeOf = (path: string) => path.slice(1);

async function subscribe(tenant: TestTenant, path: string): Promise<void> {
  const { status, text } = await tenant.request('POST', '/subscriptions', {
    target_url: simulator.url + path,
    event_types: [typeOf(path)],
  });
  expect(status, text).toBe(201);
}

async function publish(tenant: TestTenant, paths: string[]): Promise<void> {
  const events = paths.map((path) => ({ event_type: typeOf(path), payload: 1 }));
  expect((await tenant.request('POST', '/events/batch', { events })).status).toBe(202);
}

/** @returns how many silent requests were begun between the event and its first arrival at a subscription that is new */
async function firstDelivery(path: string): Promise<number> {
  const tenant = await posthorn.tenant();
  await subscribe(tenant, path);
  const before = simulator.total;
  await publish(tenant, [path]);
  await waitFor(() => simulator.countOn(path) > 0, { what: path });
  return simulator.total - before;
}

it('delivers first events of others while one tenant has hundreds of silent subscriptions', async () => {
  const greedy = await posthorn.tenant();
  const silent = Array.from({ length: SILENT }, (_, index) => `/hang/${index}`);
  for (const path of silent) await subscribe(greedy, path);
  for (let round = 0; round < DUE_FOR_EACH; round++) await publish(greedy, silent);
  const places = WORKER_COUNT / 2;
  /** Requests that are begun in a few timeouts; if others waited for their places, it would be dozens of timeouts. */
  const few = 5 * places;
  await waitFor(() => simulator.total > places, { what: 'the first silent requests' });

  // While the silent ones are new, and when some of them are known to be slow.
  expect(await firstDelivery('/ok/early')).toBeLessThan(few);
  await waitFor(() => simulator.total > 2 * places, { what: 'the next silent requests' });
  expect(await firstDelivery('/ok/late')).toBeLessThan(few);
  // Another silent tenant gets its turns as well.
  expect(await firstDelivery('/hang/another')).toBeLessThan(few);
});
