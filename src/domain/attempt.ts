import type { AttemptOutcome } from './attempt-outcome.js';
import type { DeadReason, DeliveryStatus } from './delivery-status.js';

/** One attempt and what became of its delivery, as they are recorded together. */
export interface AttemptResult {
  deliveryId: string;
  tenantId: string;
  subscriptionId: string;
  attemptNumber: number;
  /** Null when nothing was sent: then there is a new status but no attempt. */
  startedAt: Date | null;
  durationMs: number;
  statusCode: number | null;
  success: boolean;
  error: string | null;
  /** JSON text. */
  responseHeaders: string | null;
  responseBody: string | null;
  status: DeliveryStatus;
  /** From now until the next attempt; null when there is none. */
  retryInMs: number | null;
  deadReason: DeadReason | null;
}

/** What follows from an attempt for its lane. */
export interface AttemptReport {
  /** The target answered with 2xx, or otherwise, or not in time; or nothing was sent. */
  target: 'accepted' | 'answered' | 'noResponse' | 'notSent';
  /** Null when the subscription was deleted. */
  outcome: AttemptOutcome['kind'] | null;
  /** When the request began, on the monotonic clock, in milliseconds. */
  startedMs: number;
  /** How long the target took. */
  durationMs: number;
  /** When the delivery is due again, from now; null when it is not. */
  retryInMs: number | null;
}
