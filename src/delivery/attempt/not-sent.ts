import type { AttemptResult } from '../../domain/attempt.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';

/** A result without a request: a new status, or an entry of the history. */
export function notSent(
  delivery: ClaimedDelivery,
  change: Pick<AttemptResult, 'error' | 'status' | 'deadReason'> & Partial<AttemptResult>,
): AttemptResult {
  return {
    deliveryId: delivery.id,
    tenantId: delivery.tenantId,
    subscriptionId: delivery.subscriptionId,
    attemptNumber: delivery.attemptNumber,
    startedAt: null,
    durationMs: 0,
    statusCode: null,
    success: false,
    responseHeaders: null,
    responseBody: null,
    retryInMs: null,
    ...change,
  };
}
