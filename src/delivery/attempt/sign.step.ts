import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { SendResult } from '../../domain/attempt-outcome.js';
import { UndecryptableSecret } from '../../domain/encryption.js';
import type { Subscription } from '../../domain/subscription.js';
import { LOGGER } from '../../observability/logger.js';
import { credentialOf, requestHeaders } from './request-headers.js';
import type { Authorised, Signed } from './stages.js';

/** The subscription's owner reads this; which key is missing is for the operator, in the log. */
export const CANNOT_SIGN: SendResult = {
  kind: 'failure',
  code: 'secret_unreadable',
  message: 'the signing secret cannot be decrypted; the log of the service says why',
  durationMs: 0,
};

/** Makes the request, signed with the secrets that are valid now. */
@Injectable()
export class SignStep {
  private readonly logged = new WeakSet<Error>();

  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  /** @param at the time that the request states */
  run({ delivery, subscription }: Authorised, at: Date): Signed {
    const secrets = this.secretsOf(subscription, at);
    if (!secrets) return { stage: 'unsigned' };
    return {
      stage: 'signed',
      request: {
        tenantId: subscription.tenantId,
        credential: credentialOf(subscription),
        url: subscription.targetUrl,
        headers: requestHeaders(delivery, subscription, secrets, at),
        body: delivery.payload,
        timeoutMs: subscription.timeoutMs,
      },
    };
  }

  /** Null when they cannot be decrypted: logged once, until the subscription is read anew. */
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
}
