import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import type { Config } from '../../../src/config/config.js';
import type { AttemptReport, AttemptService } from '../../../src/delivery/attempt.service.js';
import type { Postponed } from '../../../src/delivery/destination-limits.js';
import { LaneRunner } from '../../../src/delivery/lane-runner.js';
import type { TargetChallenge } from '../../../src/delivery/target-challenge.js';
import type { PayloadLoader } from '../../../src/delivery/payload-loader.js';
import type { ClaimedDelivery } from '../../../src/domain/delivery.js';
import type { LaneRepository, PacedClaim } from '../../../src/persistence/repositories/lane.repository.js';
import type { SubscriptionCache } from '../../../src/persistence/subscription-cache.js';
import type { LaneScheduler } from '../../../src/queue/lane-scheduler.js';

/** The time-out is no assertion: a busy machine may take long. */
const PATIENT = { interval: 1, timeout: 60_000 };
const DELIVERED: AttemptReport = { kind: 'attempted', target: 'accepted', durationMs: 1, retryInMs: null };

/** What a test has in the place of others. */
interface Doubles {
  repository: object;
  subscriptions: object;
  attempts: object;
  scheduler?: object;
}

function runnerWith({
  repository,
  subscriptions,
  attempts,
  scheduler = { wake: () => Promise.resolve() },
}: Doubles): LaneRunner {
  return new LaneRunner(
    repository as LaneRepository,
    subscriptions as SubscriptionCache,
    attempts as AttemptService,
    {} as TargetChallenge,
    {
      load: (delivery: ClaimedDelivery) => Promise.resolve({ delivery, letGo: () => undefined }),
    } as unknown as PayloadLoader,
    scheduler as LaneScheduler,
    { leaseSeconds: 60, workerCount: 100, laneConcurrency: 64 } as Config,
    pino({ level: 'silent' }),
  );
}

/** A worker for one subscription with a concurrency limit, whose claims and records end when the test says so. */
function workerWithLimit() {
  const id = randomUUID();
  const subscription = {
    id,
    tenantId: '',
    isActive: true,
    timeoutMs: 1,
    limits: { maxConcurrency: 1, spacingMs: null },
  };
  const claims: ((deliveries: string[]) => void)[] = [];
  const sent = new Map<string, () => void>();
  const runner = runnerWith({
    repository: {
      claimPaced: () =>
        new Promise<PacedClaim>((resolve) => {
          claims.push((ids) => {
            const deliveries = ids.map((id) => ({ id }) as ClaimedDelivery);
            resolve({ deliveries, nextInMs: null });
          });
        }),
    },
    subscriptions: {
      findLane: () => Promise.resolve(subscription),
      find: () => Promise.resolve(subscription),
    },
    attempts: {
      run: (delivery: ClaimedDelivery, _: unknown, answered: () => void) => {
        answered();
        return new Promise<AttemptReport>((resolve) => sent.set(delivery.id, () => resolve(DELIVERED)));
      },
    },
  });
  return { claims, sent, wake: () => void runner.run([id]) };
}

const nth = <T>(list: T[], index: number) => vi.waitUntil(() => list[index], PATIENT);

it('looks again when a place became free while it was told that there was none', async () => {
  const { claims, sent, wake } = workerWithLimit();
  wake();
  (await nth(claims, 0))(['first']);
  const record = await vi.waitUntil(() => sent.get('first'), PATIENT);
  // The second falls due; PostgreSQL counts the first one, and the answer is on its way when that is recorded.
  wake();
  const nothing = await nth(claims, 1);
  record();
  await new Promise((resolve) => setImmediate(resolve));
  nothing([]);
  (await nth(claims, 2))(['second']);
  expect(await vi.waitUntil(() => sent.get('second'), PATIENT)).toBeDefined();
});

it('ends the deliveries of a limited lane whose subscription was deleted since it was cached', async () => {
  const id = randomUUID();
  let cached: object | undefined = { id, tenantId: 'a', limits: { maxConcurrency: 3, spacingMs: null } };
  const ended = new Set<string>();
  const runner = runnerWith({
    repository: {
      claimPaced: () => Promise.resolve(null),
      claimDue: () => Promise.resolve(ended.size === 0 ? [{ id: 'orphan', subscriptionId: id }] : []),
    },
    subscriptions: {
      findLane: () => Promise.resolve(cached),
      forget: () => (cached = undefined),
    },
    attempts: {
      run: (delivery: ClaimedDelivery, subscription: unknown) => {
        if (subscription === undefined) ended.add(delivery.id);
        return Promise.resolve(DELIVERED);
      },
    },
  });
  void runner.run([id]);
  await vi.waitUntil(() => ended.has('orphan'), PATIENT);
});

it('gives back what its destination does not take, and tries with one when its time has come', async () => {
  const subscription = {
    id: randomUUID(),
    tenantId: 'a',
    timeoutMs: 1,
    limits: { spacingMs: null, maxConcurrency: null },
  };
  let due = Array.from({ length: 5 }, (_, index) => `delivery ${index}`);
  const quotas: number[] = [];
  const sent: string[] = [];
  const wakes: number[] = [];
  let takes = false;
  const runner: LaneRunner = runnerWith({
    repository: {
      claimDue: ([{ quota }]: [{ quota: number }]) => {
        quotas.push(quota);
        const claimed = due.slice(0, quota);
        due = due.slice(quota);
        return Promise.resolve(claimed.map((id) => ({ id, subscriptionId: subscription.id })));
      },
      release: (given: { id: string }[]) => {
        due = [...given.map(({ id }) => id), ...due];
        return Promise.resolve();
      },
    },
    subscriptions: {
      findLane: () => Promise.resolve(subscription),
      find: () => Promise.resolve(subscription),
    },
    attempts: {
      run: (delivery: ClaimedDelivery) => {
        if (!takes) return Promise.resolve<Postponed>({ kind: 'postponed', retryInMs: 1 });
        sent.push(delivery.id);
        return Promise.resolve(DELIVERED);
      },
    },
    scheduler: {
      wake: (_: string[], inMs: number) => {
        wakes.push(inMs);
        return Promise.resolve();
      },
    },
  });
  await runner.run([subscription.id]);
  await vi.waitUntil(() => due.length === 5 && wakes.length > 0, PATIENT);
  await runner.run([subscription.id]);
  // Woken before its time, it claims nothing.
  expect({ quotas, sent }).toEqual({ quotas: [2], sent: [] });
  expect(wakes.at(-1)).toBeGreaterThan(0);

  takes = true;
  // Woken again and again, as a scheduler may: what comes before its time claims nothing.
  await vi.waitUntil(async () => {
    await runner.run([subscription.id]);
    return sent.length === 5;
  }, PATIENT);
  expect(quotas[1]).toBe(1);
});
