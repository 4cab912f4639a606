import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { UndecryptableSecret } from '../domain/encryption.js';
import { Problem } from '../domain/errors.js';
import {
  judge,
  judgeHead,
  type ReceivedRequest,
  type RequestHead,
  type SourceRules,
  type Verdict,
} from '../domain/providers/judge.js';
import type { Refusal } from '../domain/providers/proof.js';
import { LOGGER } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import type { Source } from '../persistence/source-cache.js';

export type Verified = Exclude<Verdict, { kind: 'refused' }>;

/** Verifies what comes to a source: its head before a byte of the body is read, then the whole. */
@Injectable()
export class SourceVerifier {
  private readonly logged = new WeakSet<Error>();

  constructor(
    private readonly metrics: Metrics,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @throws Problem signature_invalid where no body could make it right; unavailable */
  verifyHead(source: Source, head: RequestHead, requestId: string): void {
    const now = Date.now();
    const refusal = judgeHead(head, this.rulesOf(source, now), now);
    if (refusal !== null) throw this.refused(source, refusal, requestId);
  }

  /** @throws Problem signature_invalid, unavailable */
  verify(source: Source, request: ReceivedRequest, requestId: string): Verified {
    const now = Date.now();
    const verdict = judge(request, this.rulesOf(source, now), now);
    if (verdict.kind === 'refused') throw this.refused(source, verdict, requestId);
    return verdict;
  }

  private rulesOf(source: Source, nowMs: number): SourceRules {
    const { provider, settings } = source;
    return { provider, settings, secrets: this.secretsOf(source, nowMs), publicUrl: this.config.publicUrl };
  }

  /** Providers send again what was answered 503; the log says once, until the source is read anew, what is wrong. */
  private secretsOf(source: Source, nowMs: number): string[] {
    try {
      return source.secrets(nowMs);
    } catch (error) {
      if (!(error instanceof UndecryptableSecret)) throw error;
      if (!this.logged.has(error)) {
        this.logged.add(error);
        this.logger.error(
          { err: error, tenant_id: source.tenantId, source_id: source.id },
          'secret.unreadable',
        );
      }
      throw new Problem(
        'unavailable',
        'The secret of this source cannot be read: set it anew (rotate-secret).',
        {
          retryAfterSeconds: 60,
        },
      );
    }
  }

  /** Neither the body nor a header is logged: the sender is not known, and may send anything. */
  private refused(source: Source, { reason, message }: Refusal, requestId: string): Problem {
    const { id, tenantId, provider } = source;
    this.metrics.sourceRefused(provider, reason);
    this.logger.warn(
      { tenant_id: tenantId, source_id: id, provider, reason, request_id: requestId },
      'source.refused',
    );
    return new Problem('signature_invalid', message);
  }
}
