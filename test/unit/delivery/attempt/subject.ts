import { pino } from 'pino';
import type { Config } from '../../../../src/config/config.js';
import type { Clock } from '../../../../src/domain/clock.js';
import type { LoadedDelivery } from '../../../../src/domain/delivery.js';
import { NAMED_POLICIES } from '../../../../src/domain/retry-policy.js';
import type { Subscription } from '../../../../src/domain/subscription.js';

export const NOW = Date.parse('2026-01-02T03:04:05Z');
export const CLOCK: Clock = { now: () => NOW, random: () => 0.5 };
export const SILENT = pino({ level: 'silent' });
export const CONFIG = { retryAfterCapMs: 3_600_000, minRetryDelaySeconds: 0, leaseSeconds: 60 } as Config;

/** A delivery that states only what matters to a test. */
export const deliveryWith = (changes: Partial<LoadedDelivery> = {}): LoadedDelivery => ({
  id: 'the delivery',
  tenantId: 'the tenant',
  eventId: 'the event',
  subscriptionId: 'the subscription',
  eventType: 'order.paid',
  attemptNumber: 1,
  budgetAttempt: 1,
  isInterrupted: false,
  lagMs: 3.7,
  requestId: null,
  hops: null,
  contentType: null,
  payloadBytes: 2,
  payload: Buffer.from('{}'),
  ...changes,
});

export const subscriptionWith = (changes: Partial<Subscription> = {}): Subscription => ({
  id: 'the subscription',
  tenantId: 'the tenant',
  targetUrl: 'https://example.com/hook',
  isActive: true,
  pausedBy: null,
  awaitsChallenge: false,
  headers: {},
  retryPolicy: NAMED_POLICIES.standard,
  timeoutMs: 10_000,
  limits: { spacingMs: null, maxConcurrency: null },
  secrets: () => ['whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY='],
  ...changes,
});
