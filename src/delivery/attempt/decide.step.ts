import { Inject, Injectable } from '@nestjs/common';
import { Config } from '../../config/config.js';
import type { AttemptResult } from '../../domain/attempt.js';
import { AttemptOutcome, classify, decide, Decision, SendResult } from '../../domain/attempt-outcome.js';
import type { Clock } from '../../domain/clock.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import type { Subscription } from '../../domain/subscription.js';
import { CLOCK } from '../clock.token.js';
import { notSent } from './not-sent.js';
import { CANNOT_SIGN } from './sign.step.js';
import type { Authorised, Decided, Sent } from './stages.js';

/** Says what the answer means, what becomes of the delivery, and puts both into what is recorded. */
@Injectable()
export class DecideStep {
  private shuttingDown = false;

  constructor(
    private readonly config: Config,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  run({ delivery, subscription }: Authorised, { startedAt, startedMs, result: sent }: Sent): Decided {
    const outcome = classify(sent, this.clock.now(), this.config.retryAfterCapMs);
    const decision = this.decide(outcome, delivery, subscription);
    const result = this.describe(delivery, startedAt, sent, outcome, decision);
    const wasSent = sent !== CANNOT_SIGN;
    return { stage: 'decided', delivery, subscription, result, outcome, wasSent, startedMs };
  }

  /** A delivery whose subscription was deleted is dead without an attempt. */
  orphaned(delivery: ClaimedDelivery): Decided {
    const result = notSent(delivery, {
      error: 'not sent: the subscription was deleted',
      status: 'dead',
      deadReason: 'subscription_deleted',
    });
    return {
      stage: 'decided',
      delivery,
      subscription: undefined,
      result,
      outcome: null,
      wasSent: false,
      startedMs: 0,
    };
  }

  /** From now on, requests that fail were cut off by the stop of this process. */
  shutDown(): void {
    this.shuttingDown = true;
  }

  private decide(
    outcome: AttemptOutcome,
    delivery: ClaimedDelivery,
    { retryPolicy }: Subscription,
  ): Decision {
    const nowMs = this.clock.now();
    // A request that the shutdown cut off says nothing about the subscriber.
    if (this.shuttingDown && outcome.kind === 'retry') return { status: 'retrying', nextAttemptAtMs: nowMs };
    return decide(outcome, {
      policy: retryPolicy,
      minDelayMs: this.config.minRetryDelaySeconds * 1000,
      failures: delivery.budgetAttempt,
      nowMs,
      random: () => this.clock.random(),
    });
  }

  private describe(
    delivery: ClaimedDelivery,
    startedAt: Date,
    sent: SendResult,
    outcome: AttemptOutcome,
    decision: Decision,
  ): AttemptResult {
    const response = sent.kind === 'response' ? sent : null;
    // No spread: on the way of every delivery, it costs 6 µs.
    return {
      deliveryId: delivery.id,
      tenantId: delivery.tenantId,
      subscriptionId: delivery.subscriptionId,
      attemptNumber: delivery.attemptNumber,
      startedAt,
      durationMs: sent.durationMs,
      statusCode: response?.statusCode ?? null,
      success: outcome.kind === 'delivered',
      error: errorOf(outcome, response?.note ?? null),
      responseHeaders: response && JSON.stringify(response.headers),
      responseBody: response?.body ?? null,
      status: decision.status,
      retryInMs:
        decision.status === 'retrying' ? Math.max(decision.nextAttemptAtMs - this.clock.now(), 0) : null,
      deadReason: decision.status === 'dead' ? decision.reason : null,
    };
  }
}

/** Of a delivered attempt, this is only a note: its delivery has no error. */
function errorOf(outcome: AttemptOutcome, note: string | null): string | null {
  if (outcome.kind === 'delivered') return note;
  return note === null ? outcome.error : `${outcome.error}; ${note}`;
}
