import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import type { SendResult } from '../domain/attempt-outcome.js';
import { UndecryptableSecret } from '../domain/encryption.js';
import { signatureHeaders } from '../domain/signature.js';
import { answersChallenge, CHALLENGE_TYPE, challengeBody } from '../domain/target-verification.js';
import { uuidV7 } from '../domain/uuid-v7.js';
import { VERSION } from '../domain/version.js';
import { SubscriptionRepository } from '../persistence/repositories/subscription.repository.js';
import type { Subscription } from '../domain/subscription.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import type { Postponed } from './destination-limits.js';
import { HttpSender } from './http-sender.js';

/**
 * Asks a target whether it wants what its subscription sends: a POST like a delivery, signed, with a random text that
 * the answer has to hold. Its owner learns no more of the answer than from a delivery: the status, or why there was none.
 */
@Injectable()
export class TargetChallenge {
  constructor(
    private readonly sender: HttpSender,
    private readonly subscriptions: SubscriptionRepository,
    private readonly cache: SubscriptionCache,
  ) {}

  /**
   * Sends the challenge and stores what came of it, unless the target was changed meanwhile or all stops.
   * @returns how long to wait with it, in milliseconds, since the destination has its share of requests; null when done
   */
  async run(subscription: Subscription, stopping: AbortSignal): Promise<number | null> {
    const challenge = randomBytes(24).toString('base64url');
    const result = await this.send(subscription, challenge);
    if (result.kind === 'postponed') return result.retryInMs;
    // What the stop cut off says nothing about the target; the challenge is still pending.
    if (stopping.aborted) return null;
    const reason = reasonAgainst(result, challenge);
    await this.subscriptions.concludeVerification(subscription, reason);
    this.cache.forget(subscription.tenantId);
    return null;
  }

  private send(subscription: Subscription, challenge: string): Promise<SendResult | Postponed> {
    const nowMs = Date.now();
    const body = challengeBody(challenge);
    let secrets: string[];
    try {
      secrets = subscription.secrets(nowMs);
    } catch (error) {
      if (!(error instanceof UndecryptableSecret)) throw error;
      const message = 'the signing secret cannot be decrypted';
      return Promise.resolve({ kind: 'failure', code: 'secret_unreadable', message, durationMs: 0 });
    }
    return this.sender.send({
      tenantId: subscription.tenantId,
      // Connections of its own: the headers may hold a credential.
      credential: `challenge ${subscription.id}`,
      url: subscription.targetUrl,
      headers: {
        ...subscription.headers,
        'content-type': 'application/json',
        'user-agent': `Posthorn/${VERSION}`,
        ...signatureHeaders({
          secrets,
          webhookId: uuidV7(nowMs),
          timestampSeconds: Math.floor(nowMs / 1000),
          body,
        }),
        'x-webhook-event': CHALLENGE_TYPE,
      },
      body,
      timeoutMs: subscription.timeoutMs,
      kind: 'challenge',
    });
  }
}

/** Null when the target is verified. */
function reasonAgainst(result: SendResult, challenge: string): string | null {
  if (result.kind === 'failure') return `${result.code}: ${result.message}`;
  const { statusCode, body } = result;
  if (statusCode < 200 || statusCode > 299) return `HTTP ${statusCode}`;
  return answersChallenge(body, challenge) ? null : 'the body of the answer is not the challenge';
}
