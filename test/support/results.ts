import type { AttemptResult } from '../../src/domain/attempt.js';
import type { ClaimedDelivery } from '../../src/domain/delivery.js';

/** What a worker records when the subscriber has taken what it claimed: after a millisecond, unless something changes. */
export const delivered = (
  claimed: Pick<ClaimedDelivery, 'id' | 'tenantId' | 'subscriptionId' | 'attemptNumber'>,
  changes: Partial<AttemptResult> = {},
): AttemptResult => ({
  deliveryId: claimed.id,
  tenantId: claimed.tenantId,
  subscriptionId: claimed.subscriptionId,
  attemptNumber: claimed.attemptNumber,
  startedAt: new Date(),
  durationMs: 1,
  statusCode: 200,
  success: true,
  error: null,
  responseHeaders: null,
  responseBody: null,
  status: 'delivered',
  retryInMs: null,
  deadReason: null,
  ...changes,
});
