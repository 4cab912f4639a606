import type { AttemptResult, ClaimedDelivery } from '../../src/persistence/repositories/lane.repository.js';

/** What a worker records when the subscriber has taken what it claimed: after a millisecond, unless something changes. */
export const delivered = (
  claimed: Pick<ClaimedDelivery, 'id' | 'tenant_id' | 'subscription_id' | 'attempt_number'>,
  changes: Partial<AttemptResult> = {},
): AttemptResult => ({
  deliveryId: claimed.id,
  tenantId: claimed.tenant_id,
  subscriptionId: claimed.subscription_id,
  attemptNumber: claimed.attempt_number,
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
