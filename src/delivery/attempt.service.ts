import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { AttemptOutcome, classify, decide, Decision, SendResult } from '../domain/attempt-outcome.js';
import type { Clock } from '../domain/clock.js';
import { UndecryptableSecret } from '../domain/encryption.js';
import { HOPS_HEADER } from '../domain/hops.js';
import { signatureHeaders } from '../domain/signature.js';
import { VERSION } from '../domain/version.js';
import { LOGGER } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import { AuditRepository } from '../persistence/repositories/audit.repository.js';
import type { LoadedDelivery } from '../domain/delivery.js';
import type { AttemptResult } from '../domain/attempt.js';
import type { ClaimedDelivery } from '../domain/delivery.js';
import type { Subscription } from '../domain/subscription.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { CLOCK } from './clock.token.js';
import type { Postponed } from './destination-limits.js';
import { HttpSender } from './http-sender.js';
import { ResultWriter } from './result-writer.js';

/** What the lane learns from an attempt. */
export interface AttemptReport {
  kind: 'attempted';
  /** The target answered with 2xx; answered otherwise; did not answer; was not called. */
  target: 'accepted' | 'answered' | 'silent' | 'not called';
  /** How long the target took. */
  durationMs: number;
  /** When the delivery is due again, from now; null when it is not. */
  retryInMs: number | null;
}

/** What was sent and came back, with what follows from it. */
interface Concluded {
  startedAt: Date;
  result: SendResult;
  outcome: AttemptOutcome;
  decision: Decision;
}

/** The subscription's owner reads this; which key is missing is for the operator, in the log. */
const CANNOT_SIGN: SendResult = {
  kind: 'failure',
  code: 'secret_unreadable',
  message: 'the signing secret cannot be decrypted; the log of the service says why',
  durationMs: 0,
};

const INTERRUPTED = 'interrupted: the worker stopped before it could record an answer';

/** One attempt of one delivery. */
@Injectable()
export class AttemptService {
  private shuttingDown = false;
  private readonly logged = new WeakSet<Error>();

  constructor(
    private readonly sender: HttpSender,
    private readonly results: ResultWriter,
    private readonly subscriptions: SubscriptionCache,
    private readonly audit: AuditRepository,
    private readonly metrics: Metrics,
    private readonly config: Config,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * @param answered called when the target is done with it, before the result is recorded
   * @returns `postponed` when nothing was sent, which is no attempt, and nothing was recorded
   * @throws only when the result could not be recorded; the lease then sees to another attempt
   */
  async run(
    delivery: LoadedDelivery,
    subscription: Subscription | undefined,
    answered: () => void,
  ): Promise<AttemptReport | Postponed> {
    if (!subscription) return this.refuseOrphan(delivery);
    const startedAt = new Date(this.clock.now());
    const result = await this.send(delivery, subscription, startedAt);
    if (result.kind === 'postponed') return result;
    answered();
    const outcome = classify(result, this.clock.now(), this.config.retryAfterCapMs);
    const decision = this.decide(outcome, delivery, subscription);
    const concluded = { startedAt, result, outcome, decision };

    const attempt = this.describe(delivery, concluded);
    const [changed] = await Promise.all([
      this.results.record(attempt),
      delivery.isInterrupted && this.recordInterruption(delivery),
    ]);
    this.announce(delivery, attempt, concluded, changed);
    if (outcome.kind === 'gone') await this.disable(subscription);
    return {
      kind: 'attempted',
      target: targetOf(concluded),
      durationMs: result.durationMs,
      retryInMs: changed ? attempt.retryInMs : null,
    };
  }

  /** Closes all connections. Requests that are still open end, and their deliveries are due again at once. */
  async close(): Promise<void> {
    this.shuttingDown = true;
    await this.sender.close();
  }

  private send(
    delivery: LoadedDelivery,
    subscription: Subscription,
    startedAt: Date,
  ): Promise<SendResult | Postponed> {
    const { payload: body } = delivery;
    const secrets = this.secretsOf(subscription, startedAt);
    if (!secrets) return Promise.resolve(CANNOT_SIGN);
    return this.sender.send({
      tenantId: subscription.tenantId,
      credential: credentialOf(subscription),
      url: subscription.targetUrl,
      headers: {
        ...(!hasAccept(subscription) && ACCEPT),
        ...subscription.headers,
        'content-type': delivery.contentType ?? 'application/json',
        'user-agent': `Posthorn/${VERSION}`,
        ...signatureHeaders({
          secrets,
          webhookId: delivery.eventId,
          timestampSeconds: Math.floor(startedAt.getTime() / 1000),
          body,
        }),
        'x-webhook-event': delivery.eventType,
        'x-webhook-delivery': delivery.id,
        'x-webhook-attempt': String(delivery.attemptNumber),
        [HOPS_HEADER]: String((delivery.hops ?? 0) + 1),
        ...(delivery.requestId !== null && { 'x-request-id': delivery.requestId }),
      },
      body,
      timeoutMs: subscription.timeoutMs,
    });
  }

  /** Null when they cannot be decrypted: said once, until the subscription is read anew. */
  private secretsOf(subscription: Subscription, at: Date): string[] | null {
    try {
      return subscription.secrets(at.getTime());
    } catch (error) {
      if (!(error instanceof UndecryptableSecret)) throw error;
      if (!this.logged.has(error)) {
        this.logged.add(error);
        const { id, tenantId } = subscription;
        this.logger.error({ err: error, tenant_id: tenantId, subscription_id: id }, 'secret.unreadable');
      }
      return null;
    }
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
    { startedAt, result, outcome, decision }: Concluded,
  ): AttemptResult {
    const response = result.kind === 'response' ? result : null;
    // No spread: on the way of every delivery, it costs 6 µs.
    return {
      deliveryId: delivery.id,
      tenantId: delivery.tenantId,
      subscriptionId: delivery.subscriptionId,
      attemptNumber: delivery.attemptNumber,
      startedAt,
      durationMs: result.durationMs,
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

  private announce(
    delivery: ClaimedDelivery,
    attempt: AttemptResult,
    { outcome }: Concluded,
    changed: boolean,
  ): void {
    this.metrics.attempted({ durationMs: attempt.durationMs, lagMs: delivery.lagMs });
    if (changed) this.metrics.concluded(attempt.status, attempt.deadReason ?? outcome.kind);
    this.logger.info(
      {
        tenant_id: delivery.tenantId,
        subscription_id: delivery.subscriptionId,
        event_id: delivery.eventId,
        event_type: delivery.eventType,
        delivery_id: delivery.id,
        request_id: delivery.requestId,
        attempt: attempt.attemptNumber,
        status: changed ? attempt.status : 'superseded',
        status_code: attempt.statusCode,
        error: attempt.success ? null : attempt.error,
        note: attempt.success ? (attempt.error ?? undefined) : undefined,
        reason: attempt.deadReason,
        duration_ms: attempt.durationMs,
        lag_ms: Math.round(delivery.lagMs),
        retry_in_ms: attempt.retryInMs,
        bytes: delivery.payloadBytes,
      },
      'delivery.attempted',
    );
  }

  /** The subscriber answered 410 Gone. What is still open in this lane waits until somebody switches it on again. */
  private async disable(subscription: Subscription): Promise<void> {
    if (!(await this.subscriptions.disable(subscription, 'gone'))) return;
    const { id, tenantId, targetUrl } = subscription;
    const { origin } = new URL(targetUrl);
    const about = { tenant_id: tenantId, subscription_id: id };
    this.logger.warn({ ...about, origin }, 'subscription.disabled');
    // It is done, and the attempt recorded: a missing entry is no reason to fail now.
    await this.audit
      .insertDone('subscription.disable', { tenantId, objectId: id })
      .catch((error: unknown) => this.logger.error({ err: error, ...about }, 'audit.write_failed'));
  }

  private async refuseOrphan(delivery: ClaimedDelivery): Promise<AttemptReport> {
    const changed = await this.results.record({
      ...NOTHING_SENT,
      ...ownersOf(delivery),
      attemptNumber: delivery.attemptNumber,
      error: 'not sent: the subscription was deleted',
      status: 'dead',
      deadReason: 'subscription_deleted',
    });
    if (changed) this.metrics.deadLettered('subscription_deleted');
    return { kind: 'attempted', target: 'not called', durationMs: 0, retryInMs: null };
  }

  /** Keeps the history complete; the fence makes sure that it changes no status. */
  private async recordInterruption(delivery: ClaimedDelivery): Promise<void> {
    await this.results.record({
      ...NOTHING_SENT,
      ...ownersOf(delivery),
      attemptNumber: delivery.attemptNumber - 1,
      startedAt: new Date(this.clock.now() - this.config.leaseSeconds * 1000),
      error: INTERRUPTED,
      status: 'retrying',
      deadReason: null,
    });
  }
}

const ownersOf = ({ id, tenantId, subscriptionId }: ClaimedDelivery) => ({
  deliveryId: id,
  tenantId,
  subscriptionId,
});

const ACCEPT = { accept: '*/*' };

function hasAccept({ headers }: Subscription): boolean {
  for (const name in headers) if (name.toLowerCase() === 'accept') return true;
  return false;
}

/** What the subscription's own headers say may be secrets, so they share connections with no other subscription. */
function credentialOf({ id, headers }: Subscription): string {
  for (const _ in headers) return id;
  return '';
}

/** Of a delivered attempt, this is only a note: its delivery has no error. */
function errorOf(outcome: AttemptOutcome, note: string | null): string | null {
  if (outcome.kind === 'delivered') return note;
  return note === null ? outcome.error : `${outcome.error}; ${note}`;
}

const NOTHING_SENT = {
  startedAt: null,
  durationMs: 0,
  statusCode: null,
  success: false,
  responseHeaders: null,
  responseBody: null,
  retryInMs: null,
};

function targetOf({ result, outcome }: Concluded): AttemptReport['target'] {
  if (outcome.kind === 'delivered') return 'accepted';
  if (result.kind === 'response') return 'answered';
  return result.code === 'secret_unreadable' ? 'not called' : 'silent';
}
