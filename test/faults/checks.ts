import { EventTypeIndex } from '../../src/domain/event-type.js';
import type { Allowance, Window } from './account.js';
import { groupBy, Records } from './records.js';
import { DELIVERY_TIMEOUT_MS } from './stand.js';

/** How late the clock of PostgreSQL and the log of the subscriber may be about what the suite did. */
const SLACK_MS = 1_000;

/** What must not be, in words; empty if all is well. */
export function violationsOf(records: Records, fault: Window, allowance: Allowance): string[] {
  return new Checks(records).run(fault, allowance);
}

/** Comparisons between what the sender, the database and the subscriber know. */
class Checks {
  private readonly violations: string[] = [];

  constructor(private readonly records: Records) {}

  run(fault: Window, allowance: Allowance): string[] {
    for (const { delivery_id, what } of this.records.illegal) {
      this.violation(`${what} (delivery ${delivery_id})`);
    }
    this.checkEvents();
    this.checkDeliveries();
    this.checkArrivals();
    this.checkAttempts();
    this.checkAllowance(allowance, fault);
    return this.violations;
  }

  /** Every accepted event is there once, as it was sent; and no other. */
  private checkEvents(): void {
    for (const refusal of this.records.workload.refusals) this.violation(`refused for good: ${refusal}`);
    const stored = groupBy(this.records.events, (event) => event.idempotency_key);
    for (const sent of this.records.workload.events) {
      const rows = stored.get(sent.key) ?? [];
      if (sent.acceptedAt === null) this.violation(`${sent.key} was never accepted`);
      if (rows.length !== 1) this.violation(`${sent.key} was accepted, and is stored ${rows.length} times`);
      const [id, ...others] = sent.ids;
      if (others.length > 0) this.violation(`${sent.key} was answered with ${others.length + 1} ids`);
      if (rows[0] && id !== rows[0].id)
        this.violation(`${sent.key} is stored under another id than answered`);
      if (rows[0] && rows[0].payload.toString('latin1') !== Buffer.from(sent.payload).toString('latin1')) {
        this.violation(`${sent.key} is stored with other bytes`);
      }
    }
    for (const key of stored.keys()) {
      if (!this.records.sentByKey.has(key)) this.violation(`${key} is stored, and was never sent`);
    }
  }

  /** Each event has one delivery for each subscription that wants it, and each ended as it had to. */
  private checkDeliveries(): void {
    const byEvent = groupBy(this.records.deliveries, (delivery) => delivery.event_id);
    const index = new EventTypeIndex<string>();
    for (const [id, target] of this.records.workload.targets) index.add(id, target.eventTypes);
    for (const event of this.records.events) {
      const sent = this.records.sentByKey.get(event.idempotency_key);
      if (!sent) continue;
      const wanted = index.matching(sent.type);
      const made = (byEvent.get(event.id) ?? []).map(({ subscription_id }) => subscription_id);
      if (made.toSorted().join() !== wanted.toSorted().join()) {
        this.violation(`${sent.key} (${sent.type}) has ${made.length} deliveries and not ${wanted.length}`);
      }
    }
    for (const delivery of this.records.deliveries) {
      const target = this.records.workload.targets.get(delivery.subscription_id)!;
      if (delivery.is_open || delivery.status !== target.ends) {
        const what = `${delivery.status}${delivery.is_open ? ' (open)' : ''}`;
        this.violation(`delivery ${delivery.id} to ${target.path} is ${what} and not ${target.ends}`);
      }
    }
  }

  /** The subscriber got what was sent, and nothing else; and everything that counts as delivered. */
  private checkArrivals(): void {
    for (const arrival of this.records.arrivals) {
      const delivery = this.records.deliveryById.get(arrival.deliveryId);
      const event = this.records.eventById.get(arrival.webhookId);
      const target = delivery && this.records.workload.targets.get(delivery.subscription_id);
      const isRight =
        delivery?.event_id === arrival.webhookId &&
        arrival.path === `${this.records.workload.prefix}${target!.path}`;
      if (!isRight || !event) this.violation(`something arrived that nobody sent: ${arrival.path}`);
      else if (arrival.body !== null && !arrival.body.equals(event.payload)) {
        this.violation(`${event.idempotency_key} arrived with other bytes`);
      }
    }
    for (const { id, status } of this.records.deliveries) {
      const arrived = this.records.arrivalsByDelivery.get(id) ?? [];
      if (status === 'delivered' && !arrived.some(({ accepted }) => accepted !== false)) {
        this.violation(`delivery ${id} counts as delivered, and the subscriber never took it`);
      }
    }
  }

  /** Every answer that was recorded was given. */
  private checkAttempts(): void {
    for (const { delivery_id, attempt_number, status_code, success } of this.records.attempts) {
      const { attempt_count } = this.records.deliveryById.get(delivery_id)!;
      const name = `attempt ${attempt_number} of delivery ${delivery_id}`;
      if (attempt_number < 1 || attempt_number > attempt_count) this.violation(`${name} of ${attempt_count}`);
      if (status_code === null) continue;
      const seen = this.records.arrivalsByAttempt.get(`${delivery_id}:${attempt_number}`) ?? [];
      const fits = seen.some(
        ({ accepted, status }) => accepted === null || (accepted === success && status === status_code),
      );
      if (!fits) this.violation(`${name} is recorded as ${status_code}, and the subscriber did not say so`);
    }
    for (const delivery of this.records.deliveries) {
      if (delivery.status !== 'delivered') continue;
      const last = this.records.attemptByKey.get(`${delivery.id}:${delivery.attempt_count}`);
      if (last?.success !== true)
        this.violation(`delivery ${delivery.id} is delivered without such an attempt`);
    }
  }

  /**
   * What was accepted and not known to be is sent again, so each duplicate is of one of two kinds, and only where the
   * fault explains that kind. What was forgotten was answered shortly before the fault or while it lasted. A timeout
   * without a fault is what a starved machine makes of a healthy subscriber.
   */
  private checkAllowance(allowance: Allowance, fault: Window): void {
    for (const { deliveryId, attemptNumber, at } of this.records.forgotten()) {
      const what = `attempt ${attemptNumber} of delivery ${deliveryId} was accepted and is not recorded`;
      if (!allowance.forgets) this.violation(what);
      else if (at < fault.from - DELIVERY_TIMEOUT_MS - SLACK_MS || at > fault.to + SLACK_MS) {
        this.violation(`${what}, though it came ${Math.round(at - fault.to)} ms after the end of the fault`);
      }
    }
    for (const { deliveryId, attemptNumber } of this.records.unheard()) {
      const { error } = this.records.attemptByKey.get(`${deliveryId}:${attemptNumber}`)!;
      if (!allowance.unheard && !/timeout/.test(error ?? '')) {
        this.violation(`attempt ${attemptNumber} of delivery ${deliveryId} was accepted, but: ${error}`);
      }
    }
    for (const [first] of this.records.duplicated()) {
      const { deliveryId, at } = first!;
      const isLost = [...this.records.forgotten(), ...this.records.unheard()].some(
        (lost) => lost.deliveryId === deliveryId,
      );
      // Recorded late: its lease had run out meanwhile, and somebody else had sent it again.
      const isLate = allowance.forgets && at > fault.from - DELIVERY_TIMEOUT_MS - SLACK_MS && at < fault.to;
      if (!isLost && !isLate) {
        this.violation(`delivery ${deliveryId} was sent again, though its acceptance was recorded`);
      }
    }
  }

  private violation(what: string): void {
    this.violations.push(what);
  }
}
