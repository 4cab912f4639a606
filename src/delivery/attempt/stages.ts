import type { AttemptResult } from '../../domain/attempt.js';
import type { AttemptOutcome, SendResult } from '../../domain/attempt-outcome.js';
import type { ClaimedDelivery, LoadedDelivery } from '../../domain/delivery.js';
import type { Subscription } from '../../domain/subscription.js';
import type { OutgoingRequest } from '../http-sender.js';
import type { Lane } from '../lane.js';
import type { LatencyClass } from '../latency-class.js';
import type { Hold } from '../policies/lane-policy.js';

/** What the deliveries of one claim have in common. */
export interface Claim {
  lane: Lane;
  /** As it was at the claim; undefined when it was deleted. */
  subscription: Subscription | undefined;
  /** On the monotonic clock, in milliseconds. */
  leaseEndsAt: number;
  /** Of the lane at the claim. */
  latency: LatencyClass;
}

/** The payload is in memory until `release`, and the subscription is as it is now. */
export interface Prepared {
  stage: 'prepared';
  delivery: LoadedDelivery;
  subscription: Subscription;
  release: () => void;
}

/** The subscription was deleted: there is nothing to send. */
export interface Orphaned {
  stage: 'orphaned';
  release: () => void;
}

/** Nothing was sent, and the delivery is to be released. */
export interface Released {
  stage: 'released';
  /** What held it; null when its lease ends too soon, or the process stops. */
  hold: Hold | null;
}

/** Its payload could not be read: the lease, and then the sweep, see to another attempt. */
export interface Unreadable {
  stage: 'unreadable';
}

/** Every rule lets it go. */
export interface Authorised {
  stage: 'authorised';
  delivery: LoadedDelivery;
  subscription: Subscription;
}

/** The request, or why it cannot be signed. */
export type Signed = { stage: 'signed'; request: OutgoingRequest } | { stage: 'unsigned' };

/** When the request began, and what came back. */
export interface Sent {
  startedAt: Date;
  /** On the monotonic clock, in milliseconds. */
  startedMs: number;
  result: SendResult;
}

/** What came of it and what is to be recorded. */
export interface Decided {
  stage: 'decided';
  delivery: ClaimedDelivery;
  subscription: Subscription | undefined;
  result: AttemptResult;
  /** Null when the subscription was deleted. */
  outcome: AttemptOutcome | null;
  /** Whether a request was made. */
  wasSent: boolean;
  /** When it began, on the monotonic clock, in milliseconds. */
  startedMs: number;
}
