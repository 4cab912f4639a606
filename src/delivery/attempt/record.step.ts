import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../../config/config.js';
import type { AttemptReport } from '../../domain/attempt.js';
import type { AttemptOutcome } from '../../domain/attempt-outcome.js';
import type { Clock } from '../../domain/clock.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import { LOGGER } from '../../observability/logger.js';
import { Metrics } from '../../observability/metrics.js';
import { CLOCK } from '../clock.token.js';
import { ResultWriter } from '../result-writer.js';
import { notSent } from './not-sent.js';
import type { Decided } from './stages.js';

/** Writes down what came of an attempt, counts it and logs it. */
@Injectable()
export class RecordStep {
  constructor(
    private readonly results: ResultWriter,
    private readonly metrics: Metrics,
    private readonly config: Config,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @throws when the result could not be recorded; the lease then sees to another attempt */
  async run(decided: Decided): Promise<AttemptReport> {
    const { delivery, result, outcome } = decided;
    const [changed] = await Promise.all([
      this.results.record(result),
      outcome && delivery.isInterrupted && this.recordInterruption(delivery),
    ]);
    if (outcome) this.announce(decided, outcome, changed);
    else if (changed && result.deadReason !== null) this.metrics.deadLettered(result.deadReason);
    return {
      target: targetOf(decided),
      outcome: outcome && outcome.kind,
      startedMs: decided.startedMs,
      durationMs: result.durationMs,
      retryInMs: changed ? result.retryInMs : null,
    };
  }

  /** Keeps the history complete; the fence makes sure that it changes no status. */
  private async recordInterruption(delivery: ClaimedDelivery): Promise<void> {
    await this.results.record(
      notSent(delivery, {
        attemptNumber: delivery.attemptNumber - 1,
        startedAt: new Date(this.clock.now() - this.config.leaseSeconds * 1000),
        error: 'interrupted: the worker stopped before it could record an answer',
        status: 'retrying',
        deadReason: null,
      }),
    );
  }

  private announce({ delivery, result }: Decided, outcome: AttemptOutcome, changed: boolean): void {
    this.metrics.attempted({ durationMs: result.durationMs, lagMs: delivery.lagMs });
    if (changed) this.metrics.concluded(result.status, result.deadReason ?? outcome.kind);
    this.logger.info(
      {
        tenant_id: delivery.tenantId,
        subscription_id: delivery.subscriptionId,
        event_id: delivery.eventId,
        event_type: delivery.eventType,
        delivery_id: delivery.id,
        request_id: delivery.requestId,
        attempt: result.attemptNumber,
        status: changed ? result.status : 'superseded',
        status_code: result.statusCode,
        error: result.success ? null : result.error,
        note: result.success ? (result.error ?? undefined) : undefined,
        reason: result.deadReason,
        duration_ms: result.durationMs,
        lag_ms: Math.round(delivery.lagMs),
        retry_in_ms: result.retryInMs,
        bytes: delivery.payloadBytes,
      },
      'delivery.attempted',
    );
  }
}

function targetOf({ result, outcome, wasSent }: Decided): AttemptReport['target'] {
  if (!wasSent) return 'notSent';
  if (outcome?.kind === 'delivered') return 'accepted';
  return result.statusCode === null ? 'noResponse' : 'answered';
}
