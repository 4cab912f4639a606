import { violationsOf } from './checks.js';
import { readRecords, Records } from './records.js';
import type { Stand } from './stand.js';
import type { Workload } from './workload.js';

/** When the fault began and ended, by the clock of the suite. */
export interface Window {
  from: number;
  to: number;
}

/** What a fault explains. */
export interface Allowance {
  /** May what the subscriber accepted come again because a worker lost the answer, or the time to record it? */
  forgets: boolean;
  /** May it come again because the answer never reached the worker, which recorded as much? */
  unheard: boolean;
}

export interface Account {
  accepted: number;
  deliveries: number;
  delivered: number;
  dead: number;
  cancelled: number;
  /** Acceptances beyond the first of a delivery. */
  duplicates: number;
  /** Acceptances that no record knows of: the worker's or the database's end came first. */
  forgotten: number;
  /** Acceptances that are recorded as a lost connection or a timeout: the answer never reached the worker. */
  unheard: number;
  /** Attempts that a later one found without a result. */
  interrupted: number;
  /** Milliseconds from the end of the fault: the first event that was accepted and delivered wholly after it. */
  flowsAfterMs: number | null;
  /** …: the last delivery of what had been accepted before its end has ended. */
  drainedAfterMs: number;
  /** From handing an event in for the first time until its first arrival at the subscription that wants all. */
  longestLagMs: number;
  /** Events accepted while the fault lasted, and how many of them arrived while it lasted. */
  during: { accepted: number; arrived: number };
  /** What must not be; empty if all is well. */
  violations: string[];
}

/** Compares what the sender, the database and the subscriber know of one round. */
export async function takeAccount(
  stand: Stand,
  workload: Workload,
  fault: Window,
  allowance: Allowance,
): Promise<Account> {
  const records = await readRecords(stand, workload);
  const count = (status: string): number =>
    records.deliveries.filter((delivery) => delivery.status === status).length;
  const lags = records
    .firstArrivals()
    .map(({ sent, at }) => at - sent.sentAt)
    .toSorted((a, b) => a - b);
  return {
    accepted: workload.events.filter(({ acceptedAt }) => acceptedAt !== null).length,
    deliveries: records.deliveries.length,
    delivered: count('delivered'),
    dead: count('dead'),
    cancelled: count('cancelled'),
    duplicates: records.duplicated().reduce((sum, taken) => sum + taken.length - 1, 0),
    forgotten: records.forgotten().length,
    unheard: records.unheard().length,
    interrupted: records.interrupted().length,
    flowsAfterMs: flowsAfterMs(records, fault),
    drainedAfterMs: drainedAfterMs(records, fault),
    longestLagMs: lags.at(-1) ?? Number.NaN,
    during: during(records, fault),
    violations: violationsOf(records, fault, allowance),
  };
}

function flowsAfterMs(records: Records, { to }: Window): number | null {
  const after = records
    .firstArrivals()
    .filter(({ sent }) => sent.sentAt >= to)
    .map(({ at }) => at - to);
  return after.length === 0 ? null : Math.min(...after);
}

function drainedAfterMs({ deliveries, eventById, sentByKey }: Records, { to }: Window): number {
  const last = deliveries.reduce((latest, { event_id, completed_ms, status }) => {
    const sent = sentByKey.get(eventById.get(event_id)?.idempotency_key ?? '');
    const counts = status !== 'cancelled' && sent?.acceptedAt != null && sent.acceptedAt <= to;
    return counts ? Math.max(latest, completed_ms ?? 0) : latest;
  }, to);
  return last - to;
}

function during(records: Records, { from, to }: Window): Account['during'] {
  const accepted = records.workload.events.filter(
    ({ sentAt, acceptedAt }) => sentAt >= from && acceptedAt !== null && acceptedAt <= to,
  );
  const arrived = records.firstArrivals().filter(({ sent, at }) => accepted.includes(sent) && at <= to);
  return { accepted: accepted.length, arrived: arrived.length };
}
