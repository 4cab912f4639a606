import type { Stand } from './stand.js';
import type { Arrival } from './subscriber.js';
import type { SentEvent, Workload } from './workload.js';

export interface DeliveryRow {
  id: string;
  event_id: string;
  subscription_id: string;
  status: string;
  attempt_count: number;
  is_open: boolean;
  completed_ms: number | null;
}
export interface AttemptRow {
  delivery_id: string;
  attempt_number: number;
  status_code: number | null;
  success: boolean;
  error: string | null;
}
export interface EventRow {
  id: string;
  idempotency_key: string;
  payload: Buffer;
}

/** How the error of an attempt begins whose worker ended without a result. */
const INTERRUPTED = 'interrupted';

/** What the sender, the database and the subscriber know of one round. */
export async function readRecords(stand: Stand, workload: Workload): Promise<Records> {
  const read = async <Row extends object>(sql: string): Promise<Row[]> =>
    (await stand.database.query<Row & { [column: string]: unknown }>(sql, [workload.tenantId])).rows;
  return new Records(
    workload,
    await read('select id, idempotency_key, payload from event where tenant_id = $1'),
    await read(
      `select id, event_id, subscription_id, status, attempt_count, next_attempt_at is not null as is_open,
              extract(epoch from completed_at)::float8 * 1000 as completed_ms
       from delivery where tenant_id = $1`,
    ),
    await read(
      `select a.delivery_id, a.attempt_number, a.status_code, a.success, a.error
       from delivery_attempt a join delivery d on d.id = a.delivery_id where d.tenant_id = $1`,
    ),
    stand.subscriber.received(workload.prefix),
    await read('select delivery_id, what from fault_audit where tenant_id = $1'),
  );
}

export class Records {
  readonly sentByKey: Map<string, SentEvent>;
  readonly eventById: Map<string, EventRow>;
  readonly deliveryById: Map<string, DeliveryRow>;
  readonly arrivalsByAttempt: Map<string, Arrival[]>;
  readonly arrivalsByDelivery: Map<string, Arrival[]>;
  readonly attemptByKey: Map<string, AttemptRow>;

  constructor(
    readonly workload: Workload,
    readonly events: EventRow[],
    readonly deliveries: DeliveryRow[],
    readonly attempts: AttemptRow[],
    readonly arrivals: Arrival[],
    /** What the trigger of audit.ts saw. */
    readonly illegal: { delivery_id: string; what: string }[],
  ) {
    this.sentByKey = new Map(workload.events.map((event) => [event.key, event]));
    this.eventById = new Map(events.map((event) => [event.id, event]));
    this.deliveryById = new Map(deliveries.map((delivery) => [delivery.id, delivery]));
    this.arrivalsByAttempt = groupBy(arrivals, (one) => `${one.deliveryId}:${one.attemptNumber}`);
    this.arrivalsByDelivery = groupBy(arrivals, (one) => one.deliveryId);
    this.attemptByKey = new Map(attempts.map((one) => [`${one.delivery_id}:${one.attempt_number}`, one]));
  }

  /** For each delivery that was taken more than once, when. */
  duplicated(): Arrival[][] {
    return [...this.arrivalsByDelivery.values()]
      .map((arrived) => arrived.filter(({ accepted }) => accepted === true))
      .filter((taken) => taken.length > 1);
  }

  /** Acceptances whose attempt has no record, or one that says so. */
  forgotten(): Arrival[] {
    return this.arrivals.filter((arrival) => {
      if (arrival.accepted !== true) return false;
      const recorded = this.recordOf(arrival);
      return recorded === undefined || recorded.error?.startsWith(INTERRUPTED) === true;
    });
  }

  /** Acceptances whose attempt is recorded as a failure. */
  unheard(): Arrival[] {
    return this.arrivals.filter((arrival) => {
      const recorded = this.recordOf(arrival);
      return (
        arrival.accepted === true && recorded?.success === false && !recorded.error?.startsWith(INTERRUPTED)
      );
    });
  }

  recordOf({ deliveryId, attemptNumber }: Arrival): AttemptRow | undefined {
    return this.attemptByKey.get(`${deliveryId}:${attemptNumber}`);
  }

  /** Attempts that a later one found without a result. */
  interrupted(): AttemptRow[] {
    return this.attempts.filter(({ error }) => error?.startsWith(INTERRUPTED) === true);
  }

  /** On the target that wants everything. */
  firstArrivals(): { sent: SentEvent; at: number }[] {
    const seen = new Map<SentEvent, number>();
    for (const { path, webhookId, at } of this.arrivals) {
      if (path !== `${this.workload.prefix}all/ok`) continue;
      const sent = this.sentByKey.get(this.eventById.get(webhookId)?.idempotency_key ?? '');
      if (sent && !seen.has(sent)) seen.set(sent, at);
    }
    return [...seen].map(([sent, at]) => ({ sent, at }));
  }
}

export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
