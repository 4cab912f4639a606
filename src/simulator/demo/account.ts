import type { DeliveryStatus } from '../../domain/delivery-status.js';
import type { Arrival } from '../arrival-log.js';

/** A delivery, as `GET /deliveries` lists it. */
export interface DeliveryRow {
  event_id: string;
  status: DeliveryStatus;
  attempt_count: number;
}

/** What the service said of one subscription, beside what its subscriber saw. */
export interface Evidence {
  /** When each accepted event was received by the service (milliseconds since the epoch), by its id. */
  acceptedAt: ReadonlyMap<string, number>;
  deliveries: readonly DeliveryRow[];
  arrivals: readonly Arrival[];
}

export interface Sums {
  accepted: number;
  deliveries: number;
  delivered: number;
  /** Deliveries that took more than one attempt. */
  retried: number;
  dead: number;
  cancelled: number;
  /** Still to be attempted. */
  due: number;
  /** Arrivals of an event that the subscriber had accepted before. */
  duplicates: number;
  /** From the service receiving an event to its first arrival, in milliseconds, ascending. */
  latencies: number[];
}

export function sum({ acceptedAt, deliveries, arrivals }: Evidence): Sums {
  const count = (status: DeliveryStatus) => deliveries.filter((row) => row.status === status).length;
  return {
    accepted: acceptedAt.size,
    deliveries: deliveries.length,
    delivered: count('delivered'),
    retried: deliveries.filter(({ attempt_count }) => attempt_count > 1).length,
    dead: count('dead'),
    cancelled: count('cancelled'),
    due: count('pending') + count('delivering') + count('retrying'),
    duplicates: arrivals.filter(({ duplicate }) => duplicate).length,
    latencies: latencies(acceptedAt, arrivals),
  };
}

/**
 * Whatever does not add up, a sentence each. Every accepted event must have one delivery that is delivered, dead,
 * cancelled or still due, and delivered must mean that the subscriber has said yes.
 */
export function contradictions(evidence: Evidence): string[] {
  const { acceptedAt, deliveries, arrivals } = evidence;
  const { accepted, delivered, dead, cancelled, due, ...rest } = sum(evidence);
  const found: string[] = [];

  const accounted = delivered + dead + cancelled + due;
  if (accounted !== accepted || rest.deliveries !== accepted) {
    found.push(
      `${accepted} events were accepted, but there are ${rest.deliveries} deliveries: ${delivered} delivered + ${dead} dead + ${cancelled} cancelled + ${due} due = ${accounted}`,
    );
  }
  const known = new Set(deliveries.map(({ event_id }) => event_id));
  const missing = [...acceptedAt.keys()].filter((id) => !known.has(id));
  if (missing.length > 0) found.push(`accepted, but without a delivery: ${listed(missing)}`);

  const claimed = idsOf(deliveries.filter(({ status }) => status === 'delivered'));
  const taken = new Set(arrivals.filter(isAccepted).map(webhookId));
  const unseen = claimed.filter((id) => !taken.has(id));
  if (unseen.length > 0) found.push(`called delivered, but never seen by the subscriber: ${listed(unseen)}`);
  const finished = new Set(claimed);
  const unrecorded = [...taken].filter((id) => !finished.has(id));
  if (unrecorded.length > 0) {
    found.push(`taken by the subscriber, but not called delivered: ${listed(unrecorded)}`);
  }

  const forged = arrivals.filter(({ signatureValid }) => signatureValid !== true);
  if (forged.length > 0) found.push(`arrived without a valid signature: ${listed(forged.map(webhookId))}`);
  return found;
}

export function webhookId({ headers }: Arrival): string {
  return String(headers['webhook-id']);
}

function latencies(acceptedAt: ReadonlyMap<string, number>, arrivals: readonly Arrival[]): number[] {
  const first = new Map<string, number>();
  for (const arrival of arrivals) {
    const id = webhookId(arrival);
    if (!first.has(id)) first.set(id, arrival.arrivedAt);
  }
  return [...first]
    .map(([id, arrivedAt]) => Math.max(arrivedAt - (acceptedAt.get(id) ?? arrivedAt), 0))
    .sort((a, b) => a - b);
}

function isAccepted({ status }: Arrival): boolean {
  return status !== null && status >= 200 && status < 300;
}

function idsOf(deliveries: DeliveryRow[]): string[] {
  return deliveries.map(({ event_id }) => event_id);
}

function listed(ids: string[]): string {
  return `${ids.length} (${ids.slice(0, 3).join(', ')}${ids.length > 3 ? ', …' : ''})`;
}
