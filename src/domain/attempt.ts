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
