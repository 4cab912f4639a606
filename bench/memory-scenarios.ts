import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import type { MemoryCallers } from './memory-callers.js';
import { badUrls, createLanes, createTenant, seedDue } from './memory-seed.js';
import type { BadWay, MemorySink } from './memory-sink.js';
import type { Program } from './program.js';
import type { Stand } from './stand.js';

/** What a scenario has at hand: everything freshly started, and nobody has done any harm yet. */
export interface Stage {
  stand: Stand;
  sink: Program<MemorySink>;
  callers: Program<MemoryCallers>;
  /** How long the harm goes on. */
  seconds: number;
  /** 1, or a fraction of it where a rough answer will do. */
  size: number;
  say: (text: string) => void;
}

export interface MemoryScenario {
  name: string;
  /** What happens, as the page says it; numbers are those of the full size. */
  title: string;
  /** @returns what else was seen, a phrase each */
  run: (stage: Stage) => Promise<string[]>;
}

const MEGABYTE = 1_000_000;

export const SCENARIOS: MemoryScenario[] = [
  ...[1, 500, 20_000].map((lanes): MemoryScenario => ({
    name: `dead-${lanes}`,
    title:
      lanes === 1
        ? '1,000,000 due deliveries on one subscription whose target refuses connections'
        : `1,000,000 due deliveries on ${lanes.toLocaleString('en-US')} subscriptions whose targets refuse connections, hang or drop packets, a third each`,
    run: (stage) =>
      deliverToBad(stage, {
        ways: lanes === 1 ? ['refuse'] : ['refuse', 'hang', 'unroutable'],
        lanes: Math.ceil(lanes * (lanes > 500 ? stage.size : 1)),
        due: 1_000_000,
      }),
  })),
  {
    name: 'hanging',
    title:
      '60,000 due deliveries on 3,000 subscriptions that accept connections and never answer, with a timeout of 30 s',
    run: (stage) => deliverToBad(stage, { ways: ['hang'], lanes: 3_000, due: 60_000, timeoutMs: 30_000 }),
  },
  {
    name: 'endless',
    title:
      '100,000 due deliveries on 600 subscriptions whose answers never end: a body as fast as it is read, header lines likewise, a byte a second',
    run: (stage) =>
      deliverToBad(stage, {
        ways: ['endless', 'headers', 'drip'],
        lanes: 600,
        due: 100_000,
        timeoutMs: 30_000,
      }),
  },
  {
    name: 'big-payloads',
    title: '5,000 due deliveries of 1 MiB each on 100 subscriptions that hang',
    run: (stage) => deliverToBad(stage, { ways: ['hang'], lanes: 100, due: 5_000, payloadBytes: 1_048_576 }),
  },
  {
    name: 'slow-callers',
    title:
      '10,000 connections to the API that send half a request each: half of them stop amid the headers, half amid a body',
    run: holdHalfRequests,
  },
  {
    name: 'huge-batches',
    title: '64 batches of 100 MB at once, over and over: half declare their length, half are chunked',
    run: (stage) => sendBodies(stage, { count: 64, bytes: 100 * MEGABYTE }),
  },
  {
    name: 'unfinished-batches',
    title: '200 connections that each send 12 MB of a batch of permitted size, and no more',
    run: (stage) => holdBodies(stage, { count: 200, bodyBytes: 12 * MEGABYTE }),
  },
  {
    name: 'fan-out',
    title: '1,000 events at once that 10,000 subscriptions want, of which none answers',
    run: fanOut,
  },
];

interface Backlog {
  ways: readonly BadWay[];
  lanes: number;
  due: number;
  timeoutMs?: number;
  payloadBytes?: number;
}

async function deliverToBad(stage: Stage, { ways, lanes, due, timeoutMs, payloadBytes }: Backlog) {
  const { stand, sink, seconds, size, say } = stage;
  const tenant = await createTenant(stand, 'bad subscribers');
  const urls = badUrls(await sink.call('ports'), ways, lanes);
  const ids = await createLanes(stand, tenant, urls, {
    ...(timeoutMs !== undefined && { timeoutMs }),
    isActive: false,
  });
  const count = Math.ceil(due * size);
  say(`  making ${count} deliveries due …`);
  await seedDue(stand, tenant, ids, { count, ...(payloadBytes !== undefined && { payloadBytes }) });
  say(`  the worker has ${seconds} s with them …`);
  await sleep(seconds * 1000);
  const { rows } = await stand.database.query<{ attempts: string }>(
    'select count(*) as attempts from delivery_attempt a where not a.success',
  );
  const tallies = await sink.call('tallies');
  const opened = ways.flatMap((way) => {
    const tally = tallies[way];
    return tally
      ? [`${way}: ${whole(tally.mostOpen)} connections open at once, ${whole(tally.total)} in all`]
      : [];
  });
  return [`${whole(Number(rows[0]!.attempts))} failed attempts`, ...opened];
}

async function holdHalfRequests({ stand, callers, seconds, size }: Stage): Promise<string[]> {
  const { apiKey } = await createTenant(stand, 'slow callers');
  const count = Math.ceil(10_000 * size);
  await callers.call('holdHalfRequests', { url: stand.apiUrl, apiKey, path: '/events' }, count, 4_000);
  const { open } = await callers.call('halfRequests');
  await sleep(seconds * 1000);
  const after = await callers.call('halfRequests');
  await callers.call('letGo');
  return [`${whole(open)} open at once, ${whole(after.reopened)} opened again after the API had closed them`];
}

async function holdBodies(
  { stand, callers, seconds, size }: Stage,
  body: { count: number; bodyBytes: number },
) {
  const { apiKey } = await createTenant(stand, 'slow callers');
  const target = { url: stand.apiUrl, apiKey, path: '/events/batch' };
  // Odd ones stop amid the body.
  await callers.call('holdHalfRequests', target, Math.ceil(2 * body.count * size), body.bodyBytes);
  await sleep(seconds * 1000);
  const { reopened } = await callers.call('halfRequests');
  await callers.call('letGo');
  return [`${whole(reopened)} opened again after the API had closed them`];
}

async function sendBodies({ stand, callers, seconds }: Stage, bodies: { count: number; bytes: number }) {
  const { apiKey } = await createTenant(stand, 'callers with too much');
  const target = { url: stand.apiUrl, apiKey, path: '/events/batch' };
  const statuses: Record<string, number> = {};
  let sent = 0;
  for (const until = Date.now() + seconds * 1000; Date.now() < until;) {
    const round = await callers.call('sendBodies', target, bodies);
    for (const [status, count] of Object.entries(round.statuses))
      statuses[status] = (statuses[status] ?? 0) + count;
    sent += round.sent;
  }
  const answers = Object.entries(statuses).map(([status, count]) => `${whole(count)} answered ${status}`);
  return [...answers, `${whole(sent / MEGABYTE)} MB sent`];
}

async function fanOut(stage: Stage): Promise<string[]> {
  const { stand, sink, seconds, size } = stage;
  const tenant = await createTenant(stand, 'wide');
  const urls = badUrls(await sink.call('ports'), ['hang'], Math.ceil(10_000 * size));
  await createLanes(stand, tenant, urls);
  const statuses: Record<string, number> = {};
  const send = async (number: number): Promise<void> => {
    const answer = await request(`${stand.apiUrl}/api/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tenant.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ event_type: 'order.paid', payload: { number } }),
      headersTimeout: seconds * 1000,
    }).then(
      async ({ statusCode, body }) => (await body.dump(), String(statusCode)),
      () => `not answered within ${seconds} s`,
    );
    statuses[answer] = (statuses[answer] ?? 0) + 1;
  };
  await Promise.all(Array.from({ length: 1_000 }, (_, number) => send(number)));
  return Object.entries(statuses).map(([status, count]) => `${whole(count)} ${status}`);
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
