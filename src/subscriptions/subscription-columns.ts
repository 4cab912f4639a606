import { SubscriptionEntity, UnsealedSubscription } from '../persistence/entities/subscription.entity.js';
import { GivenFields } from './subscription.dto.js';

/** What a subscription has where the request says nothing. */
export function defaultColumns() {
  return {
    eventTypes: [],
    isActive: true,
    disabledReason: null,
    headers: {},
    retryPolicy: null,
    timeoutMs: null,
    rateLimit: null,
    maxConcurrency: null,
    description: null,
    metadata: {},
  } satisfies Partial<SubscriptionEntity>;
}

/** A target that is to be asked whether it wants what is sent there, or need not be asked. */
export function unverifiedTarget(isRequired: boolean, now: Date) {
  return {
    verification: isRequired ? 'pending' : 'not_required',
    verificationReason: null,
    verificationAt: isRequired ? now : null,
  } satisfies Partial<SubscriptionEntity>;
}

/** The columns that a checked request gives; what it leaves out is not among them. */
export function givenColumns(fields: GivenFields): Partial<UnsealedSubscription> {
  const { rate_limit: rateLimit } = fields;
  const columns = {
    targetUrl: fields.target_url,
    eventTypes: fields.event_types,
    isActive: fields.is_active,
    headers: fields.headers,
    retryPolicy: fields.retry_policy,
    timeoutMs: fields.timeout_ms,
    rateLimit: rateLimit && { limit: rateLimit.limit, period_seconds: rateLimit.period_seconds },
    maxConcurrency: fields.max_concurrency,
    description: fields.description,
    metadata: fields.metadata,
    // The user's word overrules the reason for which Posthorn had switched it off.
    ...(fields.is_active === true && { disabledReason: null }),
    ...(fields.secret !== undefined && replacedSecret(fields.secret)),
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

/** A secret that holds at once, with none beside it. */
export function replacedSecret(secret: string) {
  return { secret, previousSecret: null, previousSecretExpiresAt: null, olderSecrets: [] };
}
