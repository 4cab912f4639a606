import { Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Config } from '../config/config.js';
import type { CreationSeed } from '../domain/creation-seed.js';
import { eventStatus, EventStatus } from '../domain/delivery-status.js';
import { notFound, Problem } from '../domain/errors.js';
import { HOPS_HEADER } from '../domain/hops.js';
import { uuidV7 } from '../domain/uuid-v7.js';
import { Metrics } from '../observability/metrics.js';
import { EventRepository, NewEvent } from '../persistence/repositories/event.repository.js';
import type { Subscription } from '../domain/subscription.js';
import type { NoDeliveries } from '../domain/tenant-subscriptions.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { Admit, EventIntake } from './event-intake.js';
import { IncomingEvent, JsonBody, readBatch, readDirectEvent, readEvent } from './incoming-event.js';

/** How long one batch may keep the process to itself while it is matched. */
const TURN_MS = 5;

/** Who sends, beside what is sent. */
export interface Sender {
  tenantId: string;
  requestId: string;
  /** How often what is sent was delivered before. */
  hops: number;
  /** The Idempotency-Key header. */
  idempotencyKey?: string | undefined;
}

/** An event, and the subscriptions that get it. */
interface Matched {
  event: IncomingEvent;
  wantedBy: Subscription[];
  /** Where no subscription gets it. */
  noDeliveries?: NoDeliveries;
  /** The id of the subscription that it was sent to, if to one alone. */
  onlyFor?: string;
}

export interface Accepted {
  id: string;
  eventId: string;
  eventType: string;
  status: EventStatus;
  duplicate: boolean;
  deliveries: number;
  /** Of a new event that nothing gets. */
  noDeliveries?: NoDeliveries;
  receivedAt: Date;
}

/** Takes events in: once each, durably, for everybody who wants them. */
@Injectable()
export class IngestionService {
  constructor(
    private readonly subscriptions: SubscriptionCache,
    private readonly intake: EventIntake,
    private readonly events: EventRepository,
    private readonly metrics: Metrics,
    private readonly config: Config,
  ) {}

  /** @throws Problem loop_detected, invalid_request, payload_too_large, idempotency_conflict, overloaded */
  async ingest(sender: Sender, body: JsonBody): Promise<Accepted> {
    this.refuseLoop(sender);
    const event = this.counted(() => readEvent(body, sender.idempotencyKey, this.config.maxPayloadBytes));
    return this.acceptOne(sender, await this.matched(sender, event));
  }

  /**
   * For what a source has verified.
   * @throws Problem loop_detected, idempotency_conflict, overloaded
   */
  async ingestReceived(sender: Sender, event: IncomingEvent): Promise<Accepted> {
    this.refuseLoop(sender);
    return this.acceptOne(sender, await this.matched(sender, event));
  }

  /** For one subscription; it gets the event only if it is active and wants events of this type. */
  async ingestFor(sender: Sender, subscriptionId: string, body: JsonBody): Promise<Accepted> {
    this.refuseLoop(sender);
    const event = this.counted(() =>
      readDirectEvent(body, sender.idempotencyKey, this.config.maxPayloadBytes),
    );
    const { isActive } = await this.subscription(sender.tenantId, subscriptionId);
    const matching = await this.subscriptions.matching(sender.tenantId, event.eventType);
    const wantedBy = matching.filter(({ id }) => id === subscriptionId);
    const noDeliveries: NoDeliveries = isActive
      ? { reason: 'event_type', inactive: 0, event_type: 1 }
      : { reason: 'inactive', inactive: 1, event_type: 0 };
    return this.acceptOne(sender, { event, wantedBy, noDeliveries, onlyFor: subscriptionId });
  }

  /** A test event for one subscription, whatever event types it wants. */
  async sendTest(sender: Sender, subscriptionId: string, seed: CreationSeed): Promise<Accepted> {
    const subscription = await this.subscription(sender.tenantId, subscriptionId);
    if (!subscription.isActive) {
      throw new Problem(
        'conflict',
        'The subscription is not active. PATCH it with {"is_active": true} first.',
      );
    }
    const payload = Buffer.from(
      JSON.stringify({ message: 'A test event from Posthorn', subscription_id: subscriptionId }),
    );
    const event = {
      eventType: 'posthorn.test',
      payload,
      eventId: null,
      idempotencyKey: seed.isStored ? seed.id() : null,
      reception: null,
    };
    return this.acceptOne(sender, { event, wantedBy: [subscription], onlyFor: subscriptionId });
  }

  /**
   * An answer for each event, in order: what was accepted, or the problem with it. A batch takes several commits, so
   * that Postgres may fail for some of its events; only if it does for all is the batch refused as a whole.
   */
  async ingestBatch(sender: Sender, body: JsonBody): Promise<(Accepted | Error)[]> {
    this.refuseLoop(sender);
    const events = this.counted(() => readBatch(body, this.config.maxPayloadBytes));
    const matched = await this.matchInTurns(sender, events);
    const load = {
      events: events.length,
      bytes: body.raw.length,
      deliveries: matched.reduce(
        (sum, event) => sum + (event instanceof Error ? 0 : event.wantedBy.length),
        0,
      ),
    };
    const outcomes = await this.intake.withRoom(load, (admit) =>
      Promise.all(matched.map((event) => this.acceptOfBatch(sender, event, admit))),
    );
    const fault = outcomes.find((outcome) => outcome instanceof Error && !(outcome instanceof Problem));
    if (fault instanceof Error && outcomes.every((outcome) => outcome instanceof Error)) throw fault;
    return outcomes;
  }

  /** A thousand types that are not cached take a while to match: other requests are served meanwhile. */
  private async matchInTurns(
    sender: Sender,
    events: (IncomingEvent | Problem)[],
  ): Promise<(Matched | Error)[]> {
    const matched: (Matched | Error)[] = [];
    let turnEndsAt = performance.now() + TURN_MS;
    for (const event of events) {
      matched.push(await this.matchOfBatch(sender, event));
      if (performance.now() < turnEndsAt) continue;
      await nextTurn();
      turnEndsAt = performance.now() + TURN_MS;
    }
    return matched;
  }

  /** Before anything is stored, so that an event is never stored and answered with an error. */
  private async matched({ tenantId }: Sender, event: IncomingEvent): Promise<Matched> {
    const wantedBy = await this.subscriptions.matching(tenantId, event.eventType);
    if (wantedBy.length > 0) return { event, wantedBy };
    return { event, wantedBy, noDeliveries: await this.subscriptions.whyNone(tenantId, event.eventType) };
  }

  private async matchOfBatch(sender: Sender, event: IncomingEvent | Problem): Promise<Matched | Error> {
    if (event instanceof Problem) {
      this.metrics.rejected();
      return event;
    }
    try {
      return await this.matched(sender, event);
    } catch (error) {
      return error as Error;
    }
  }

  private async acceptOfBatch(
    sender: Sender,
    matched: Matched | Error,
    admit: Admit,
  ): Promise<Accepted | Error> {
    if (matched instanceof Error) return matched;
    return this.accept(sender, matched, admit).catch((error: unknown) => error as Error);
  }

  private acceptOne(sender: Sender, matched: Matched): Promise<Accepted> {
    const load = { events: 1, bytes: matched.event.payload.length, deliveries: matched.wantedBy.length };
    return this.intake.withRoom(load, (admit) => this.accept(sender, matched, admit));
  }

  private async accept(sender: Sender, matched: Matched, admit: Admit): Promise<Accepted> {
    const startedAt = performance.now();
    const { wantedBy, noDeliveries } = matched;
    const event = newEvent(sender, matched);
    const admission = await admit(event);
    if (!admission.isNew) return this.repeated(sender.tenantId, event, admission);
    this.metrics.accepted(sender.tenantId, event.eventType, performance.now() - startedAt);
    return {
      id: event.id,
      eventId: event.eventId,
      eventType: event.eventType,
      status: wantedBy.length > 0 ? 'delivering' : 'received',
      duplicate: false,
      deliveries: wantedBy.length,
      ...(wantedBy.length === 0 && noDeliveries && { noDeliveries }),
      receivedAt: event.receivedAt,
    };
  }

  private async repeated(
    tenantId: string,
    event: NewEvent,
    { existingId, sameContent }: { existingId: string; sameContent: boolean },
  ): Promise<Accepted> {
    if (!sameContent) {
      this.metrics.rejected();
      throw new Problem(
        'idempotency_conflict',
        `The idempotency key ${JSON.stringify(event.idempotencyKey)} belongs to event ${existingId}, which has another type or payload. Use a new key for a new event.`,
      );
    }
    this.metrics.duplicate();
    const existing = await this.events.find(tenantId, existingId);
    if (!existing) throw notFound('event', existingId);
    return {
      id: existing.id,
      eventId: existing.event_id,
      eventType: existing.event_type,
      status: eventStatus(existing.counts),
      duplicate: true,
      deliveries: existing.delivery_count,
      receivedAt: existing.received_at,
    };
  }

  private async subscription(tenantId: string, id: string): Promise<Subscription> {
    const subscription = await this.subscriptions.find(tenantId, id);
    if (!subscription) throw notFound('subscription', id);
    return subscription;
  }

  /** A subscription may point to where its own events come from. */
  private refuseLoop({ hops }: Sender): void {
    const { maxHops } = this.config;
    if (hops <= maxHops) return;
    this.metrics.loopRefused();
    throw new Problem(
      'loop_detected',
      `${HOPS_HEADER} says that this was delivered ${hops} times before, and it may be ${maxHops} times (MAX_HOPS): a ` +
        'subscription sends what it is sent back here. Nothing was stored.',
    );
  }

  private counted<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      this.metrics.rejected();
      throw error;
    }
  }
}

function newEvent({ tenantId, requestId, hops }: Sender, { event, wantedBy, onlyFor }: Matched): NewEvent {
  const { eventType, payload, eventId, idempotencyKey, reception } = event;
  const nowMs = Date.now();
  const id = uuidV7(nowMs);
  return {
    id,
    tenantId,
    eventId: eventId ?? id,
    eventType,
    idempotencyKey: idempotencyKey ?? eventId,
    fingerprint: fingerprintOf(event, onlyFor),
    payload,
    contentType: reception && reception.contentType,
    sourceId: reception && reception.sourceId,
    requestId,
    hops,
    // The millisecond of the id.
    receivedAt: new Date(nowMs),
    wantedBy,
  };
}

/** SHA-256 of what has to be the same for a repetition to be one. */
function fingerprintOf(
  { eventType, payload, idempotencyKey, reception }: IncomingEvent,
  onlyFor = '',
): Buffer {
  const hash = createHash('sha256');
  if (reception?.isSameByKey && idempotencyKey !== null) return hash.update(idempotencyKey).digest();
  return hash.update(`${eventType}\n${onlyFor}\n`).update(payload).digest();
}
