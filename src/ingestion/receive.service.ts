import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { withoutMark } from '../domain/byte-order-mark.js';
import { UndecryptableSecret } from '../domain/encryption.js';
import { invalidRequest, Problem } from '../domain/errors.js';
import { HOPS_HEADER, readHops } from '../domain/hops.js';
import { judge, type ReceivedRequest, type Verdict } from '../domain/providers/judge.js';
import { parseJson } from '../http/json-body.js';
import { SourceGuard } from '../http/source.guard.js';
import { LOGGER } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import type { Source } from '../persistence/source-cache.js';
import { type IncomingEvent, isOfSource, keyOfSource, ofSource } from './incoming-event.js';
import { type Accepted, IngestionService } from './ingestion.service.js';

type Refusal = Extract<Verdict, { kind: 'refused' }>;
type VerifiedEvent = Extract<Verdict, { kind: 'event' }>;

/** What a provider asks to see that somebody is there. */
export type Challenge = Extract<Verdict, { kind: 'challenge' }>;

/** Takes in what others send to a source: verified before it is looked at, stored before it is answered. */
@Injectable()
export class ReceiveService {
  private readonly logged = new WeakSet<Error>();

  constructor(
    private readonly sources: SourceGuard,
    private readonly ingestion: IngestionService,
    private readonly metrics: Metrics,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * @param admitted as it was when the head of the request had come
   * @throws Problem loop_detected, not_found, tenant_suspended, signature_invalid, malformed_json, invalid_request, idempotency_conflict,
   *   overloaded, unavailable
   */
  async receive(
    admitted: Source,
    request: ReceivedRequest,
    requestId: string,
  ): Promise<Accepted | Challenge> {
    const source = await this.sources.again(admitted);
    const verdict = this.judge(source, request);
    if (verdict.kind === 'refused') throw this.refused(source, verdict, requestId);
    if (verdict.kind === 'challenge') return verdict;
    const event = eventOf(source, verdict, request.body);
    const hops = readHops(request.headers[HOPS_HEADER]);
    return this.ingestion.ingestReceived({ tenantId: source.tenantId, requestId, hops }, event);
  }

  private judge(source: Source, request: ReceivedRequest): Verdict {
    const { provider, settings } = source;
    const { publicUrl } = this.config;
    const now = Date.now();
    return judge(request, { provider, settings, secrets: this.secretsOf(source, now), publicUrl }, now);
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

  /** Neither the body nor a header is logged: whoever calls may be anybody, and may send anything. */
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

function eventOf(source: Source, verdict: VerifiedEvent, body: Buffer): IncomingEvent {
  const { eventType, deliveryId } = verdict;
  const contentType = verdict.contentType === 'application/json' ? null : verdict.contentType;
  if (source.provider === 'posthorn') {
    parseJson(withoutMark(body));
    if (deliveryId !== null && isOfSource(deliveryId)) throw invalidRequest([ofSource('idempotency_key')]);
    const reception = { sourceId: source.id, contentType: null, isSameByKey: false };
    return { eventType, payload: body, eventId: null, idempotencyKey: deliveryId, reception };
  }
  return {
    eventType,
    payload: body,
    eventId: deliveryId,
    idempotencyKey: deliveryId === null ? null : keyOfSource(source.id, deliveryId),
    // Stripe and Slack change other members from one try to the next.
    reception: { sourceId: source.id, contentType, isSameByKey: true },
  };
}
