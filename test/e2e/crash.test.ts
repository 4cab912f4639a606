import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Arrival } from '../../src/simulator/arrival-log.js';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Load } from '../support/load.js';
import type { Client } from '../support/posthorn.js';
import { DataFolder, PosthornProcess } from '../support/process.js';
import { waitFor } from '../support/wait-for.js';

const EVENTS = 400;
const EVERY_RARE = 100;
/** Time enough for a busy machine to answer, and little to wait for; a lease must outlive an attempt by a second. */
const ENV = { DELIVERY_TIMEOUT_MS: '4000', LEASE_SECONDS: '5' };

let folder: DataFolder;
let simulator: Simulator;

beforeEach(async () => {
  simulator = await startSimulator();
  folder = await DataFolder.make();
});
afterEach(async () => {
  await folder.remove();
  await simulator.close();
});

/** What the targets do, and how their deliveries must end. */
const TARGETS = [
  { path: '/ok/fast', ends: 'delivered' },
  { path: '/delay/100/slow', ends: 'delivered' },
  { path: '/fail/30/flaky', ends: 'delivered', retry_policy: { schedule: Array<number>(20).fill(0.2) } },
  { path: '/always-fail/broken', ends: 'dead', retry_policy: { schedule: [0.2] } },
  { path: '/hang/silent', ends: 'dead', retry_policy: { schedule: [] }, event_types: ['load.rare'] },
] as const;

const wanted = (target: (typeof TARGETS)[number]): number =>
  'event_types' in target ? EVENTS / EVERY_RARE : EVENTS;

async function subscribe(tenant: Client): Promise<Map<string, (typeof TARGETS)[number]>> {
  const targets = new Map<string, (typeof TARGETS)[number]>();
  for (const target of TARGETS) {
    const { path, ends: _, ...fields } = target;
    const answer = await tenant.request('POST', '/subscriptions', {
      target_url: `${simulator.url}${path}`,
      ...fields,
    });
    expect(answer.status, answer.text).toBe(201);
    targets.set(answer.body.id as string, target);
  }
  return targets;
}

const newLoad = (): Load =>
  new Load(EVENTS, (number) => (number % EVERY_RARE === 0 ? 'load.rare' : 'load.often'));

const numberOf = ({ body }: Arrival): number => (JSON.parse(body.toString()) as { number: number }).number;
const idOf = ({ headers }: Arrival): string => headers['webhook-id'] as string;

/** How many deliveries of each subscription are in each status. */
async function statuses(tenant: Client): Promise<Map<string, Record<string, number>>> {
  const counts = new Map<string, Record<string, number>>();
  let cursor = '';
  do {
    const { body } = await tenant.request('GET', `/deliveries?limit=100${cursor}`);
    for (const { subscription_id: id, status } of body.data as {
      subscription_id: string;
      status: string;
    }[]) {
      const count = counts.get(id) ?? {};
      count[status] = (count[status] ?? 0) + 1;
      counts.set(id, count);
    }
    cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor as string}`;
  } while (cursor !== '');
  return counts;
}

async function everyDeliveryEnded(tenant: Client): Promise<void> {
  const anyIn = async (status: string): Promise<boolean> => {
    const { body } = await tenant.request('GET', `/deliveries?limit=1&status=${status}`);
    return (body.data as unknown[]).length > 0;
  };
  await waitFor(
    async () => (await Promise.all(['pending', 'delivering', 'retrying'].map(anyIn))).every((any) => !any),
    { what: 'every delivery to end' },
  );
}

const VARIANTS: [what: string, crash: (running: PosthornProcess) => Promise<void>][] = [
  ['the process, its Postgres left behind', (running) => running.kill()],
  [
    'the process and its Postgres',
    (running) => {
      folder.killPostgres();
      return running.kill();
    },
  ],
  [
    'Postgres alone',
    async (running) => {
      folder.killPostgres();
      await waitFor(() => running.output().includes('PostgreSQL is up again'), {
        what: 'Postgres to be back',
      });
    },
  ],
];

describe.each(VARIANTS)('kill -9 of %s, in the middle of a load', (what, crash) => {
  it('loses no event that was acknowledged, and sends twice only what was in flight', async () => {
    let running = await folder.start(ENV);
    const targets = await subscribe(running.tenant);
    const load = newLoad();

    const sending = load.send(running.tenant);
    await simulator.waitFor(() => simulator.countOn('/ok/fast') >= 100);
    const crashedAt = Date.now();
    await crash(running);
    await sending;
    const acknowledgedBefore = new Map(load.acknowledged);
    if (what !== 'Postgres alone') {
      expect(acknowledgedBefore.size).toBeLessThan(EVENTS);
      running = await folder.start(ENV);
    }
    // Without new events, which would wake the lanes as well.
    await everyDeliveryEnded(running.tenant);
    await load.send(running.tenant);
    expect(load.acknowledged.size).toBe(EVENTS);
    await everyDeliveryEnded(running.tenant);

    for (const [number, id] of acknowledgedBefore) expect(load.acknowledged.get(number)).toBe(id);
    for (const target of TARGETS) expectComplete(target, load, crashedAt);
    const ended = await statuses(running.tenant);
    for (const [id, target] of targets) expect(ended.get(id)).toEqual({ [target.ends]: wanted(target) });
    expect((await running.terminate()).code).toBe(0);
  });
});

function expectComplete(target: (typeof TARGETS)[number], load: Load, crashedAt: number): void {
  const arrivals = simulator.receivedOn(target.path);
  const ids = new Map(arrivals.map((arrival) => [numberOf(arrival), idOf(arrival)]));
  expect(ids.size, target.path).toBe(wanted(target));
  for (const arrival of arrivals) {
    expect(idOf(arrival), target.path).toBe(load.acknowledged.get(numberOf(arrival)));
  }
  // What was accepted, or in hand, and came again: only what may not have been recorded when all stopped.
  for (const again of arrivals.filter(({ duplicate }) => duplicate)) {
    const first = arrivals.find((arrival) => idOf(arrival) === idOf(again) && !arrival.duplicate);
    expect(first!.arrivedAt, target.path).toBeLessThan(crashedAt + 10_000);
    expect(first!.arrivedAt, target.path).toBeGreaterThan(crashedAt - 10_000);
  }
}

describe('SIGTERM in the middle of a load', () => {
  it('finishes what is in flight, exits with 0, and nothing is lost or sent twice', async () => {
    const running = await folder.start({
      DELIVERY_TIMEOUT_MS: '30000',
      LEASE_SECONDS: '60',
      SHUTDOWN_DEADLINE_SECONDS: '50',
    });
    for (const path of ['/ok/fast', '/delay/200/slow']) {
      await running.tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}${path}` });
    }
    const load = newLoad();
    const sending = load.send(running.tenant);
    await simulator.waitFor(() => simulator.countOn('/delay/200/slow') >= 100);

    const { code } = await running.terminate();
    expect(code).toBe(0);
    await sending;
    expect(simulator.received.filter(({ status }) => status === null)).toEqual([]);

    const again = await folder.start(ENV);
    await load.send(again.tenant);
    await everyDeliveryEnded(again.tenant);
    for (const path of ['/ok/fast', '/delay/200/slow']) {
      const ids = simulator.receivedOn(path).map(idOf);
      expect(ids.toSorted()).toEqual([...load.acknowledged.values()].toSorted());
    }
    await again.terminate();
  });

  it('cuts off at the deadline what does not answer, and sends it again at the next start', async () => {
    // With a lease of two minutes, only a delivery that was given back can come again soon.
    const env = { DELIVERY_TIMEOUT_MS: '30000', LEASE_SECONDS: '120', SHUTDOWN_DEADLINE_SECONDS: '1' };
    const running = await folder.start(env);
    await running.tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/hang/silent` });
    const { body: event } = await running.tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
    await simulator.waitFor(1);

    const { code, tookMs } = await running.terminate();
    expect(code).toBe(0);
    expect(tookMs).toBeGreaterThan(900);
    // Long before the request would have ended by itself.
    expect(tookMs).toBeLessThan(25_000);

    simulator.setBehaviour('/hang/silent', 'ok');
    const again = await folder.start(env);
    await simulator.waitFor(2);
    expect(simulator.received.map(idOf)).toEqual([event.id, event.id]);
    const { data } = (await again.tenant.request('GET', '/deliveries')).body;
    await waitFor(
      async () => {
        const { body } = await again.tenant.request('GET', `/status/delivery/${data[0].id as string}`);
        return body.status === 'delivered' && body.attempts.length === 2;
      },
      { what: 'the delivery to have both attempts' },
    );
    await again.terminate();
  });
});
