import { Injectable } from '@nestjs/common';
import { withoutMark } from '../domain/byte-order-mark.js';
import { invalidRequest } from '../domain/errors.js';
import { HOPS_HEADER, readHops } from '../domain/hops.js';
import type { ReceivedRequest } from '../domain/providers/judge.js';
import { parseJson } from '../http/json-body.js';
import { SourceGuard } from '../http/source.guard.js';
import { SourceVerifier, type Verified } from '../http/source-verifier.js';
import type { Source } from '../persistence/source-cache.js';
import { type IncomingEvent, isOfSource, keyOfSource, ofSource } from './incoming-event.js';
import { type Accepted, IngestionService } from './ingestion.service.js';

type VerifiedEvent = Extract<Verified, { kind: 'event' }>;

/** What a provider asks in order to test the address. */
export type Challenge = Extract<Verified, { kind: 'challenge' }>;

/** Takes in what others send to a source: verified before it is looked at, stored before it is answered. */
@Injectable()
export class ReceiveService {
  constructor(
    private readonly sources: SourceGuard,
    private readonly verifier: SourceVerifier,
    private readonly ingestion: IngestionService,
  ) {}

  /**
   * @param admitted as it was when the head of the request had come
   * @throws Problem loop_detected, not_found, tenant_suspended, rate_limited, signature_invalid, malformed_json,
   *   invalid_request, idempotency_conflict, overloaded, unavailable
   */
  async receive(
    admitted: Source,
    request: ReceivedRequest,
    requestId: string,
  ): Promise<Accepted | Challenge> {
    const source = await this.sources.admitBody(admitted, request.body.length);
    const verified = this.verifier.verify(source, request, requestId);
    if (verified.kind === 'challenge') return verified;
    if (source.provider === 'posthorn') requireSignedKey(verified, request);
    const event = eventOf(source, verified, request.body);
    const hops = readHops(request.headers[HOPS_HEADER]);
    return this.ingestion.ingestReceived({ tenantId: source.tenantId, requestId, hops }, event);
  }
}

/**
 * A client that relies on the header is told, rather than that its repetitions become events.
 * @throws Problem invalid_request where nothing signed says which event it is
 */
function requireSignedKey({ deliveryId }: VerifiedEvent, { headers }: ReceivedRequest): void {
  if (deliveryId !== null || headers['idempotency-key'] === undefined) return;
  const message =
    'is not signed here, so it cannot say which event this is: put it into the body as idempotency_key, or sign by ' +
    'Standard Webhooks, whose webhook-id is signed';
  throw invalidRequest([{ path: 'Idempotency-Key', message }]);
}

function eventOf(source: Source, verified: VerifiedEvent, body: Buffer): IncomingEvent {
  const { eventType, deliveryId, repeatKey } = verified;
  const contentType = verified.contentType === 'application/json' ? null : verified.contentType;
  const copyOf = repeatKey && keyOfSource(source.id, repeatKey);
  if (source.provider === 'posthorn') {
    parseJson(withoutMark(body));
    if (deliveryId !== null && isOfSource(deliveryId)) throw invalidRequest([ofSource('idempotency_key')]);
    const reception = { sourceId: source.id, contentType: null, isSameByKey: deliveryId === null };
    return { eventType, payload: body, eventId: null, idempotencyKey: deliveryId ?? copyOf, reception };
  }
  return {
    eventType,
    payload: body,
    eventId: deliveryId,
    idempotencyKey: deliveryId === null ? copyOf : keyOfSource(source.id, deliveryId),
    // Stripe and Slack change other members from one try to the next.
    reception: { sourceId: source.id, contentType, isSameByKey: true },
  };
}
