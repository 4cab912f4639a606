/** A delivery that a worker has claimed and holds until its lease ends. */
export interface ClaimedDelivery {
  id: string;
  tenantId: string;
  eventId: string;
  subscriptionId: string;
  eventType: string;
  /** The attempt that this claim stands for; also the fence for recording its result. */
  attemptNumber: number;
  /** attemptNumber within the present budget: 1 after creation and after a replay. */
  budgetAttempt: number;
  /** The attempt before this one was never recorded: its worker stopped in the middle. */
  isInterrupted: boolean;
  /** How long it had been due when it was claimed, in milliseconds. */
  lagMs: number;
  requestId: string | null;
  /** How often its event was delivered before it came in; null for never. */
  hops: number | null;
  /** Null: application/json. */
  contentType: string | null;
  payloadBytes: number;
  /** Null when it is too large to come with the claim. */
  payload: Buffer | null;
  /** Milliseconds from the claim to the slot that the rate limit of its lane gives it; none without a rate limit. */
  sendAfterMs?: number;
}

/** With its payload in memory. */
export type LoadedDelivery = ClaimedDelivery & { payload: Buffer };
