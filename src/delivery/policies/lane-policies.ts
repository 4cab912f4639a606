import { Injectable } from '@nestjs/common';
import type { AttemptReport } from '../../domain/attempt.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import type { Subscription } from '../../domain/subscription.js';
import type { Lane } from '../lane.js';
import { AdaptiveConcurrencyPolicy } from './adaptive-concurrency.policy.js';
import { DestinationPolicy } from './destination.policy.js';
import { GonePolicy } from './gone.policy.js';
import type { Hold, LanePolicy } from './lane-policy.js';
import { PausePolicy } from './pause.policy.js';
import { SharedLimitsPolicy } from './shared-limits.policy.js';
import { VerificationPolicy } from './verification.policy.js';

/** All rules of delivery, in the order in which they are asked: the first that holds a lane decides. */
@Injectable()
export class LanePolicies {
  private readonly all: LanePolicy[];
  /** Those that answer a question, so that the others cost a delivery nothing. */
  private readonly ofClaims: Pick<Required<LanePolicy>, 'mayClaim'>[];
  private readonly ofRequests: Pick<Required<LanePolicy>, 'maySend'>[];
  private readonly ofResults: Pick<Required<LanePolicy>, 'onResult'>[];

  constructor(
    pause: PausePolicy,
    verification: VerificationPolicy,
    destination: DestinationPolicy,
    sharedLimits: SharedLimitsPolicy,
    adaptiveConcurrency: AdaptiveConcurrencyPolicy,
    gone: GonePolicy,
  ) {
    this.all = [pause, verification, destination, sharedLimits, adaptiveConcurrency, gone];
    this.ofClaims = this.all.filter((policy) => hasAnswer(policy, 'mayClaim'));
    this.ofRequests = this.all.filter((policy) => hasAnswer(policy, 'maySend'));
    this.ofResults = this.all.filter((policy) => hasAnswer(policy, 'onResult'));
  }

  async mayClaim(lane: Lane, subscription: Subscription, stopping: AbortSignal): Promise<Hold | null> {
    for (const policy of this.ofClaims) {
      const hold = await policy.mayClaim(lane, subscription, stopping);
      if (hold) return hold;
    }
    return null;
  }

  /** The least of what the policies allow; Infinity when none limits it. */
  maxClaim(lane: Lane): number {
    let least = Infinity;
    for (const policy of this.all) least = Math.min(least, policy.maxClaim?.(lane) ?? Infinity);
    return least;
  }

  /** @returns null when the lane is claimed like any other */
  claim(lane: Lane, count: number, subscription: Subscription): Promise<ClaimedDelivery[]> | null {
    for (const policy of this.all) {
      const claim = policy.claim?.(lane, count, subscription);
      if (claim) return claim;
    }
    return null;
  }

  async maySend(lane: Lane, subscription: Subscription): Promise<Hold | null> {
    for (const policy of this.ofRequests) {
      const hold = await policy.maySend(lane, subscription);
      if (hold) return hold;
    }
    return null;
  }

  async onResult(lane: Lane, subscription: Subscription | undefined, report: AttemptReport): Promise<void> {
    for (const policy of this.ofResults) await policy.onResult(lane, subscription, report);
  }
}

function hasAnswer<Question extends keyof LanePolicy>(
  policy: LanePolicy,
  question: Question,
): policy is LanePolicy & Required<Pick<LanePolicy, Question>> {
  return policy[question] !== undefined;
}
