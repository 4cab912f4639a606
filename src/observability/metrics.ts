import { Injectable } from '@nestjs/common';
import { InjectMetric, makeCounterProvider, makeHistogramProvider } from '@willsoto/nestjs-prometheus';
import { Counter, Histogram } from 'prom-client';
import type { DeliveryStatus } from '../domain/delivery-status.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Event types and tenants beyond this many are counted together: labels must stay bounded. */
const MAX_LABEL_PAIRS = 1_000;
/** Event types of one tenant beyond this many likewise, so that it takes few labels away from others. */
const MAX_TYPES_A_TENANT = 50;
const OTHER = 'other';

export const METRIC_PROVIDERS = [
  makeCounterProvider({
    name: 'webhook_events_total',
    help: 'Events handed in, by result: accepted, duplicate or rejected.',
    labelNames: ['result'],
  }),
  makeCounterProvider({
    name: 'webhook_events_published_total',
    help: 'Events accepted, by tenant and event type; beyond bounds, "other".',
    labelNames: ['tenant', 'event_type'],
  }),
  makeCounterProvider({ name: 'webhook_delivery_success_total', help: 'Deliveries that ended with a 2xx.' }),
  makeCounterProvider({
    name: 'webhook_delivery_failure_total',
    help: 'Attempts that failed, by what became of the delivery: retry, or the reason it is dead.',
    labelNames: ['reason'],
  }),
  makeCounterProvider({
    name: 'webhook_dead_letters_total',
    help: 'Deliveries that a worker dead-lettered, after an attempt or without one, by reason.',
    labelNames: ['reason'],
  }),
  makeCounterProvider({
    name: 'webhook_delivery_retries_total',
    help: 'Attempts that will be followed by another.',
  }),
  makeCounterProvider({
    name: 'webhook_destination_limit_hits_total',
    help: 'Deliveries and challenges put off since their destination had its share of requests, by limit: rate, concurrency or challenge.',
    labelNames: ['limit'],
  }),
  makeHistogramProvider({
    name: 'webhook_delivery_duration_seconds',
    help: 'From the start of an attempt until its response was read, or until it failed.',
    buckets: SECONDS,
  }),
  makeHistogramProvider({
    name: 'webhook_delivery_lag_seconds',
    help: 'From when a delivery was due until a worker had it, of those that were attempted.',
    buckets: SECONDS,
  }),
  makeHistogramProvider({
    name: 'webhook_processing_duration_seconds',
    help: 'From when an event was read until it was committed, of those that were accepted.',
    buckets: SECONDS,
  }),
  makeCounterProvider({
    name: 'webhook_processing_errors_total',
    help: 'Events that could not be committed, since the database failed or refused them.',
  }),
  makeCounterProvider({
    name: 'webhook_auth_failures_total',
    help: 'Requests refused with 401.',
  }),
  makeCounterProvider({
    name: 'webhook_source_refused_total',
    help: "Webhooks of others that were not what their source's signature wants, by provider and reason.",
    labelNames: ['provider', 'reason'],
  }),
  makeCounterProvider({
    name: 'webhook_loops_refused_total',
    help: 'Requests refused since their events had been delivered too often already.',
  }),
  makeCounterProvider({
    name: 'webhook_task_runs_total',
    help: 'Runs of periodic tasks (sweep, cleanup, …), by task and result: succeeded or failed.',
    labelNames: ['task', 'result'],
  }),
  makeHistogramProvider({
    name: 'webhook_task_duration_seconds',
    help: 'How long the runs of periodic tasks took, by task.',
    labelNames: ['task'],
    buckets: SECONDS,
  }),
  makeCounterProvider({
    name: 'webhook_rate_limit_hits_total',
    help: 'Requests refused with 429, by limit: tenant, overload of the service, or auth (wrong keys).',
    labelNames: ['limit'],
  }),
];

/** What happened, in words of the domain; the names and labels are the business of this file. */
@Injectable()
export class Metrics {
  /** By tenant, the event types with a label of their own, and then OTHER. */
  private readonly labels = new Map<string, Set<string>>();
  private labelPairs = 0;

  constructor(
    @InjectMetric('webhook_events_total') private readonly events: Counter,
    @InjectMetric('webhook_events_published_total') private readonly eventsPublished: Counter,
    @InjectMetric('webhook_delivery_success_total') private readonly successes: Counter,
    @InjectMetric('webhook_delivery_failure_total') private readonly failures: Counter,
    @InjectMetric('webhook_dead_letters_total') private readonly deadLetters: Counter,
    @InjectMetric('webhook_delivery_retries_total') private readonly retries: Counter,
    @InjectMetric('webhook_destination_limit_hits_total') private readonly destinationLimitHits: Counter,
    @InjectMetric('webhook_delivery_duration_seconds') private readonly duration: Histogram,
    @InjectMetric('webhook_delivery_lag_seconds') private readonly lag: Histogram,
    @InjectMetric('webhook_processing_duration_seconds') private readonly processing: Histogram,
    @InjectMetric('webhook_processing_errors_total') private readonly processingErrors: Counter,
    @InjectMetric('webhook_auth_failures_total') private readonly authFailures: Counter,
    @InjectMetric('webhook_source_refused_total') private readonly sourceRefusals: Counter,
    @InjectMetric('webhook_loops_refused_total') private readonly loops: Counter,
    @InjectMetric('webhook_task_runs_total') private readonly taskRuns: Counter,
    @InjectMetric('webhook_task_duration_seconds') private readonly taskDuration: Histogram,
    @InjectMetric('webhook_rate_limit_hits_total') private readonly rateLimitHits: Counter,
  ) {}

  accepted(tenant: string, eventType: string, durationMs: number): void {
    this.events.inc({ result: 'accepted' });
    this.eventsPublished.inc(this.bounded(tenant, eventType));
    this.processing.observe(durationMs / 1000);
  }

  duplicate(): void {
    this.events.inc({ result: 'duplicate' });
  }

  rejected(): void {
    this.events.inc({ result: 'rejected' });
  }

  loopRefused(): void {
    this.loops.inc();
  }

  unauthorized(): void {
    this.authFailures.inc();
  }

  sourceRefused(provider: string, reason: string): void {
    this.sourceRefusals.inc({ provider, reason });
  }

  overloaded(): void {
    this.rateLimitHits.inc({ limit: 'overload' });
  }

  tenantLimited(): void {
    this.rateLimitHits.inc({ limit: 'tenant' });
  }

  authLimited(): void {
    this.rateLimitHits.inc({ limit: 'auth' });
  }

  ingestFailed(): void {
    this.processingErrors.inc();
  }

  /** A delivery, or a challenge, was put off, without an attempt. */
  destinationLimited(limit: 'rate' | 'concurrency' | 'challenge'): void {
    this.destinationLimitHits.inc({ limit });
  }

  attempted({ durationMs, lagMs }: { durationMs: number; lagMs: number }): void {
    this.duration.observe(durationMs / 1000);
    this.lag.observe(lagMs / 1000);
  }

  /**
   * What an attempt made of its delivery.
   * @param reason why it failed, or why the delivery is dead
   */
  concluded(status: DeliveryStatus, reason: string): void {
    if (status === 'delivered') this.successes.inc();
    else this.failures.inc({ reason });
    if (status === 'retrying') this.retries.inc();
    if (status === 'dead') this.deadLettered(reason);
  }

  /** Also without an attempt. */
  deadLettered(reason: string): void {
    this.deadLetters.inc({ reason });
  }

  /** A periodic task ended. */
  taskRan(task: string, result: 'succeeded' | 'failed', durationMs: number): void {
    this.taskRuns.inc({ task, result });
    this.taskDuration.observe({ task }, durationMs / 1000);
  }

  private bounded(tenant: string, eventType: string): { tenant: string; event_type: string } {
    const types = this.labels.get(tenant) ?? new Set();
    const label = types.has(eventType) || types.size < MAX_TYPES_A_TENANT ? eventType : OTHER;
    if (!types.has(label)) {
      if (this.labelPairs >= MAX_LABEL_PAIRS) return { tenant: OTHER, event_type: OTHER };
      this.labels.set(tenant, types.add(label));
      this.labelPairs++;
    }
    return { tenant, event_type: label };
  }
}
