import { type RetryPolicy, resolveRetryPolicy } from './retry-policy.js';

/** For what comes between a claim and its request. */
const LEASE_MARGIN_MS = 1_000;

/** A subscriber counts arrivals, and they jitter: departures are spaced a twentieth wider than its limit. */
const SPACING_MARGIN = 1.05;

/** The limits of a lane that hold over all workers together, so that only PostgreSQL can keep them. */
export interface LaneLimits {
  /** Milliseconds between two deliveries; null without a rate limit. */
  spacingMs: number | null;
  maxConcurrency: number | null;
}

/** Why the deliveries of a subscription wait: it is switched off, its tenant is, or its target is not verified. */
export type PauseReason = 'inactive' | 'suspended' | 'unverified';

/** A subscription with all that matching and delivering need, resolved once. */
export interface Subscription {
  id: string;
  tenantId: string;
  targetUrl: string;
  isActive: boolean;
  /** Null when its deliveries may be sent. */
  pausedBy: PauseReason | null;
  /** A challenge has to be sent to its target before anything else. */
  awaitsChallenge: boolean;
  headers: Record<string, string>;
  retryPolicy: RetryPolicy;
  timeoutMs: number;
  limits: LaneLimits;
  /**
   * The secrets to sign with at this time, the present one first. Decrypted when they are first asked for: most
   * processes only match events and never sign.
   * @throws UndecryptableSecret, the same one each time
   */
  secrets(nowMs: number): string[];
}

/** What is stored of a subscription, in as far as delivering follows from it. */
export interface StoredSubscription {
  id: string;
  tenantId: string;
  targetUrl: string;
  isActive: boolean;
  headers: Record<string, string>;
  /** As it was validated when it was stored; null for the service's own. */
  retryPolicy: unknown;
  timeoutMs: number | null;
  rateLimit: { limit: number; period_seconds: number } | null;
  maxConcurrency: number | null;
  verification: string | null;
}

/** What the operator has set, and holds where a subscription says nothing of its own. */
export interface DeliverySettings {
  retryPolicy: RetryPolicy;
  deliveryTimeoutMs: number;
  leaseSeconds: number;
  requiresVerification: boolean;
}

/** @param isTenantSuspended whether an operator has suspended its tenant */
export function resolveSubscription(
  stored: StoredSubscription,
  isTenantSuspended: boolean,
  settings: DeliverySettings,
  secrets: Subscription['secrets'],
): Subscription {
  const { verification, rateLimit } = stored;
  const { requiresVerification } = settings;
  const isUnverified = requiresVerification && (verification === 'pending' || verification === 'failed');
  return {
    id: stored.id,
    tenantId: stored.tenantId,
    targetUrl: stored.targetUrl,
    isActive: stored.isActive,
    pausedBy: !stored.isActive
      ? 'inactive'
      : isTenantSuspended
        ? 'suspended'
        : isUnverified
          ? 'unverified'
          : null,
    awaitsChallenge: requiresVerification && verification === 'pending' && !isTenantSuspended,
    headers: stored.headers,
    retryPolicy: stored.retryPolicy === null ? settings.retryPolicy : resolveRetryPolicy(stored.retryPolicy),
    // A request must be over before its lease is, or another worker would send it as well.
    timeoutMs: Math.min(
      stored.timeoutMs ?? settings.deliveryTimeoutMs,
      settings.leaseSeconds * 1000 - LEASE_MARGIN_MS,
    ),
    limits: {
      spacingMs: rateLimit && (rateLimit.period_seconds * 1000 * SPACING_MARGIN) / rateLimit.limit,
      maxConcurrency: stored.maxConcurrency,
    },
    secrets,
  };
}
