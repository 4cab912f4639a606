import { LEAST_UUID } from './uuid-v7.js';
import { LatencyHistogram } from './latency-buckets.js';

/** Stands for all subscriptions of a tenant together, where the statistics name a subscription. */
export const ALL_SUBSCRIPTIONS = LEAST_UUID;

/** What is counted as attempts are recorded. */
export interface DeliveryCounts {
  /** Attempts that were recorded. */
  attempts: number;
  /** Those of them that were not answered with 2xx. */
  failures: number;
  /** Those of them that were not the first of their delivery. */
  retries: number;
  /** Deliveries that became delivered. */
  delivered: number;
  /** Deliveries that became dead letters. */
  dead: number;
}

/** Counts and durations, which can be added up. */
export class DeliverySums implements DeliveryCounts {
  attempts = 0;
  failures = 0;
  retries = 0;
  delivered = 0;
  dead = 0;
  readonly latency = new LatencyHistogram();

  add(counts: DeliveryCounts): void {
    this.attempts += counts.attempts;
    this.failures += counts.failures;
    this.retries += counts.retries;
    this.delivered += counts.delivered;
    this.dead += counts.dead;
  }

  /** The share of attempts that succeeded; null without any. */
  get successRate(): number | null {
    return this.attempts === 0 ? null : (this.attempts - this.failures) / this.attempts;
  }
}
