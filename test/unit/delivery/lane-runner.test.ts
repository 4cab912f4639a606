import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import type { Config } from '../../../src/config/config.js';
import type { AttemptPipeline } from '../../../src/delivery/attempt/attempt-pipeline.js';
import type { Claim } from '../../../src/delivery/attempt/stages.js';
import { ClaimBatches } from '../../../src/delivery/claim-batches.js';
import { LaneRegistry } from '../../../src/delivery/lane-registry.js';
import { LaneRunner } from '../../../src/delivery/lane-runner.js';
import type { PayloadLoader } from '../../../src/delivery/payload-loader.js';
import { AdaptiveConcurrencyPolicy } from '../../../src/delivery/policies/adaptive-concurrency.policy.js';
import { DestinationPolicy } from '../../../src/delivery/policies/destination.policy.js';
import { GonePolicy } from '../../../src/delivery/policies/gone.policy.js';
import { LanePolicies } from '../../../src/delivery/policies/lane-policies.js';
import { PausePolicy } from '../../../src/delivery/policies/pause.policy.js';
import { SharedLimitsPolicy } from '../../../src/delivery/policies/shared-limits.policy.js';
import { VerificationPolicy } from '../../../src/delivery/policies/verification.policy.js';
import { WorkerCapacity } from '../../../src/delivery/worker-capacity.js';
import type { AttemptReport } from '../../../src/domain/attempt.js';
import type { ClaimedDelivery } from '../../../src/domain/delivery.js';
import type { LaneRepository, PacedClaim } from '../../../src/persistence/repositories/lane.repository.js';
import type { SubscriptionCache } from '../../../src/persistence/subscription-cache.js';
import type { LaneScheduler } from '../../../src/queue/lane-scheduler.js';

/** The time-out is no assertion: a busy machine may take long. */
const PATIENT = { interval: 1, timeout: 60_000 };
const DELIVERED: AttemptReport = {
  target: 'accepted',
  outcome: 'delivered',
  startedMs: Infinity,
  durationMs: 1,
  retryInMs: null,
};

/** What a test has in the place of others. */
interface Doubles {
  repository: object;
  subscriptions: object;
  /** Makes the attempt: null when the destination takes no request. */
  attempt: (delivery: ClaimedDelivery, claim: Claim) => Promise<AttemptReport> | null;
  scheduler?: object;
}

function runnerWith({
  repository,
  subscriptions,
  attempt,
  scheduler = { wake: () => Promise.resolve() },
}: Doubles): LaneRunner {
  const config = { leaseSeconds: 60, workerCount: 100, laneConcurrency: 64 } as Config;
  const cache = subscriptions as SubscriptionCache;
  const lanes = repository as LaneRepository;
  const notifications = scheduler as LaneScheduler;
  const capacity = new WorkerCapacity(config);
  const policies = new LanePolicies(
    new PausePolicy(),
    {} as VerificationPolicy,
    new DestinationPolicy(),
    new SharedLimitsPolicy(lanes, cache, notifications, config),
    new AdaptiveConcurrencyPolicy(capacity),
    {} as GonePolicy,
  );
  const pipeline = {
    send: (delivery: ClaimedDelivery, claim: Claim) => {
      const report = attempt(delivery, claim);
      const { subscription } = claim;
      if (report) return Promise.resolve({ stage: 'decided', subscription, report });
      const hold = { reason: 'destination_limit', retryInMs: 1 };
      return Promise.resolve({ stage: 'released', hold });
    },
    record: ({ report }: { report: Promise<AttemptReport> }) => report,
  };
  return new LaneRunner(
    new LaneRegistry(config),
    policies,
    capacity,
    new ClaimBatches(lanes, config),
    pipeline as unknown as AttemptPipeline,
    {} as PayloadLoader,
    cache,
    notifications,
    config,
    pino({ level: 'silent' }),
  );
}

/** A worker for one subscription with a concurrency limit, whose claims and records end when the test says so. */
function workerWithLimit() {
  const id = randomUUID();
  const subscription = {
    id,
    tenantId: '',
    pausedBy: null,
    awaitsChallenge: false,
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
    attempt: ({ id }) => new Promise((resolve) => sent.set(id, () => resolve(DELIVERED))),
  });
  return { claims, sent, wake: () => void runner.run([id]) };
}

const nth = <T>(list: T[], index: number) => vi.waitUntil(() => list[index], PATIENT);

it('polls again when a place became free while it was told that there was none', async () => {
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
  let cached: object | undefined = {
    id,
    tenantId: 'a',
    pausedBy: null,
    limits: { maxConcurrency: 3, spacingMs: null },
  };
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
    attempt: ({ id }, { subscription }) => {
      if (subscription === undefined) ended.add(id);
      return Promise.resolve(DELIVERED);
    },
  });
  void runner.run([id]);
  await vi.waitUntil(() => ended.has('orphan'), PATIENT);
});

it('releases what its destination does not take, and tries with one when its time has come', async () => {
  const subscription = {
    id: randomUUID(),
    tenantId: 'a',
    pausedBy: null,
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
    attempt: ({ id }) => {
      if (!takes) return null;
      sent.push(id);
      return Promise.resolve(DELIVERED);
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
