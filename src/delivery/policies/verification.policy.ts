import { Injectable } from '@nestjs/common';
import type { Subscription } from '../../domain/subscription.js';
import type { Lane } from '../lane.js';
import { TargetChallenge } from '../target-challenge.js';
import type { Hold, LanePolicy } from './lane-policy.js';

/** With TARGET_VERIFICATION=required, a target is sent a challenge before anything else. */
@Injectable()
export class VerificationPolicy implements LanePolicy {
  constructor(private readonly challenge: TargetChallenge) {}

  async mayClaim(lane: Lane, subscription: Subscription, stopping: AbortSignal): Promise<Hold | null> {
    if (!subscription.awaitsChallenge) return null;
    const retryInMs = await this.challenge.run(subscription, stopping);
    // Another poll sees what came of it.
    if (retryInMs === null && !stopping.aborted) lane.pollAgain = true;
    return { reason: 'challenge', retryInMs };
  }
}
