import type { AttemptReport } from '../../domain/attempt.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import type { PauseReason, Subscription } from '../../domain/subscription.js';
import type { Lane } from '../lane.js';

/** Why a lane claims nothing, or a claimed delivery is not sent. */
export interface Hold {
  reason: PauseReason | 'challenge' | 'destination_limit';
  /** Milliseconds until it is worth asking again; null when something else will notify the lane. */
  retryInMs: number | null;
}

/**
 * A rule of delivery: when a lane claims, how many, how, and what follows from a result. Each rule is a class of its
 * own in this folder, and a row in `lane-policies.ts`. It implements the questions about which it has something to say.
 */
export interface LanePolicy {
  /** May the lane claim now? Null when nothing is against it. */
  mayClaim?(
    lane: Lane,
    subscription: Subscription,
    stopping: AbortSignal,
  ): Hold | null | Promise<Hold | null>;

  /** How many may it claim, at the most? */
  maxClaim?(lane: Lane): number;

  /** Claims in another way than all due deliveries in the order of their time; null to leave it to the others. */
  claim?(lane: Lane, count: number, subscription: Subscription): Promise<ClaimedDelivery[]> | null;

  /** May a claimed delivery be sent now? Asked right before its request, with the subscription as it is by then. */
  maySend?(lane: Lane, subscription: Subscription): Hold | null | Promise<Hold | null>;

  /** What follows from the result of an attempt, once it is recorded. @param subscription undefined when it was deleted */
  onResult?(lane: Lane, subscription: Subscription | undefined, report: AttemptReport): void | Promise<void>;
}
