import { describe, expect, it } from 'vitest';
import type { Config } from '../../../../src/config/config.js';
import { Lane } from '../../../../src/delivery/lane.js';
import { AdaptiveConcurrencyPolicy } from '../../../../src/delivery/policies/adaptive-concurrency.policy.js';
import { DestinationPolicy } from '../../../../src/delivery/policies/destination.policy.js';
import type { GonePolicy } from '../../../../src/delivery/policies/gone.policy.js';
import { LanePolicies } from '../../../../src/delivery/policies/lane-policies.js';
import type { LanePolicy } from '../../../../src/delivery/policies/lane-policy.js';
import { PausePolicy } from '../../../../src/delivery/policies/pause.policy.js';
import type { SharedLimitsPolicy } from '../../../../src/delivery/policies/shared-limits.policy.js';
import { VerificationPolicy } from '../../../../src/delivery/policies/verification.policy.js';
import type { TargetChallenge } from '../../../../src/delivery/target-challenge.js';
import { WorkerCapacity } from '../../../../src/delivery/worker-capacity.js';
import type { AttemptReport } from '../../../../src/domain/attempt.js';
import { subscriptionWith } from '../attempt/subject.js';

const never = new AbortController().signal;
const lane = () => new Lane('a', 64);

describe('PausePolicy', () => {
  it.each(['inactive', 'suspended', 'unverified'] as const)(
    'holds claims and requests of a subscription that is %s, until a change notifies the lane',
    (pausedBy) => {
      const [policy, subscription] = [new PausePolicy(), subscriptionWith({ pausedBy })];
      const hold = { reason: pausedBy, retryInMs: null };
      expect([policy.mayClaim(lane(), subscription), policy.maySend(lane(), subscription)]).toEqual([
        hold,
        hold,
      ]);
    },
  );

  it('holds nothing else, and does not keep a challenge from being sent', () => {
    const policy = new PausePolicy();
    expect([policy.mayClaim(lane(), subscriptionWith()), policy.maySend(lane(), subscriptionWith())]).toEqual(
      [null, null],
    );
    const awaiting = subscriptionWith({ pausedBy: 'unverified', awaitsChallenge: true });
    expect(policy.mayClaim(lane(), awaiting)).toBeNull();
    expect(policy.maySend(lane(), awaiting)).toMatchObject({ reason: 'unverified' });
  });
});

describe('VerificationPolicy', () => {
  const policyWith = (retryInMs: number | null) =>
    new VerificationPolicy({ run: () => Promise.resolve(retryInMs) } as unknown as TargetChallenge);
  const awaiting = subscriptionWith({ awaitsChallenge: true });

  it('polls again after a challenge, to see what came of it', async () => {
    const polled = lane();
    const hold = await policyWith(null).mayClaim(polled, awaiting, never);
    expect([hold, polled.pollAgain]).toEqual([{ reason: 'challenge', retryInMs: null }, true]);
  });

  it('waits where the destination takes no challenge now', async () => {
    const polled = lane();
    const hold = await policyWith(7).mayClaim(polled, awaiting, never);
    expect([hold, polled.pollAgain]).toEqual([{ reason: 'challenge', retryInMs: 7 }, false]);
  });

  it('challenges no other target', async () => {
    expect(await policyWith(7).mayClaim(lane(), subscriptionWith(), never)).toBeNull();
  });
});

describe('AdaptiveConcurrencyPolicy', () => {
  it.each<[target: AttemptReport['target'], durationMs: number, size: number, latency: string]>([
    ['accepted', 1, 3, 'fast'],
    ['accepted', 5_000, 3, 'slow'],
    ['answered', 1, 2, 'fast'],
    ['noResponse', 1, 1, 'slow'],
    ['notSent', 0, 3, 'unknown'],
  ])(
    'after a request that was %s in %d ms lets %d be open, and has a %s lane',
    (target, durationMs, size, latency) => {
      const [subject, capacity] = [lane(), new WorkerCapacity({ workerCount: 10 } as Config)];
      const report = { target, durationMs, outcome: null, startedMs: 0, retryInMs: null };
      new AdaptiveConcurrencyPolicy(capacity).onResult(subject, null, report);
      expect([subject.window.size, subject.latency]).toEqual([size, latency]);
    },
  );
});

describe('DestinationPolicy', () => {
  it.each<[target: AttemptReport['target'], capacity: number]>([
    ['accepted', 2],
    ['noResponse', 2],
    ['notSent', 1],
  ])('after a refusal and a request that was %s lets %d be claimed', (target, capacity) => {
    const subject = lane();
    subject.backOff(0);
    const report = {
      target,
      outcome: null,
      startedMs: performance.now() + 1,
      durationMs: 1,
      retryInMs: null,
    };
    new DestinationPolicy().onResult(subject, null, report);
    expect(subject.capacity).toBe(capacity);
  });
});

describe('LanePolicies', () => {
  function policiesWith(...policies: LanePolicy[]) {
    const [pause, verification, destination, limits, adaptive, gone] = [...policies, {}, {}, {}, {}, {}, {}];
    return new LanePolicies(
      pause as PausePolicy,
      verification as VerificationPolicy,
      destination as DestinationPolicy,
      limits as SharedLimitsPolicy,
      adaptive as AdaptiveConcurrencyPolicy,
      gone as GonePolicy,
    );
  }

  it('asks no further once one holds', async () => {
    const asked: string[] = [];
    const hold = { reason: 'inactive' as const, retryInMs: null };
    const policies = policiesWith(
      { maySend: () => null },
      { maySend: () => Promise.resolve(hold) },
      { maySend: () => (asked.push('third'), null) },
    );
    expect(await policies.maySend(lane(), subscriptionWith())).toEqual(hold);
    expect(asked).toEqual([]);
  });

  it('lets a lane claim the least of what its rules allow, in the way of the first that has one', async () => {
    const policies = policiesWith(
      { maxClaim: () => 5 },
      { maxClaim: () => 3, claim: () => Promise.resolve([]) },
      {},
    );
    expect(policies.maxClaim(lane())).toBe(3);
    expect(await policies.claim(lane(), 3, subscriptionWith())).toEqual([]);
    expect(policiesWith().claim(lane(), 3, subscriptionWith())).toBeNull();
  });
});
