import { Injectable } from '@nestjs/common';
import type { Subscription } from '../../domain/subscription.js';
import type { Lane } from '../lane.js';
import type { Hold, LanePolicy } from './lane-policy.js';

/** A subscription that is switched off, suspended with its tenant, or not verified keeps its deliveries waiting. */
@Injectable()
export class PausePolicy implements LanePolicy {
  mayClaim(_: Lane, subscription: Subscription): Hold | null {
    // A challenge is what ends the pause of a target that is not verified.
    return subscription.awaitsChallenge ? null : holdOf(subscription);
  }

  /** It may have been paused since the claim. */
  maySend(_: Lane, subscription: Subscription): Hold | null {
    return holdOf(subscription);
  }
}

/** The change that ends a pause notifies the lane. */
function holdOf({ pausedBy }: Subscription): Hold | null {
  return pausedBy ? { reason: pausedBy, retryInMs: null } : null;
}
