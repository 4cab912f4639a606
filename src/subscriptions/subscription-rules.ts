import type { Config } from '../config/config.js';
import { FieldError, invalidRequest } from '../domain/errors.js';
import { isEventTypePattern } from '../domain/event-type.js';
import { InvalidRetryPolicy, resolveRetryPolicy } from '../domain/retry-policy.js';
import { secretProblem, secretWarning } from '../domain/signing-secret.js';
import { AddressRules } from '../domain/target-address.js';
import { InvalidTargetUrl, knownAddresses, parseTargetUrl } from '../domain/target-url.js';
import { GivenFields } from './subscription.dto.js';
import { headerErrors } from './subscription-headers.js';

const MAX_METADATA_BYTES = 16 * 1024;

/**
 * Checks what the types of a request cannot say: each rule that belongs to the domain.
 * @throws Problem invalid_request naming every member at fault
 */
export function checkSubscription(
  fields: GivenFields,
  { addressRules, minRetryDelaySeconds }: Pick<Config, 'addressRules' | 'minRetryDelaySeconds'>,
): void {
  const { target_url, event_types, secret, headers, retry_policy, metadata } = fields;
  const errors = [
    ...(target_url === undefined ? [] : targetErrors(target_url, addressRules)),
    ...(event_types === undefined ? [] : eventTypeErrors(event_types)),
    ...secretErrors(secret),
    ...(headers === undefined ? [] : headerErrors(headers)),
    ...(retry_policy === undefined || retry_policy === null
      ? []
      : retryPolicyErrors(retry_policy, minRetryDelaySeconds)),
    ...(metadata === undefined ? [] : metadataErrors(metadata)),
  ];
  if (errors.length > 0) throw invalidRequest(errors);
}

export function secretErrors(secret: unknown): FieldError[] {
  return fieldError('secret', secret === undefined ? null : secretProblem(secret));
}

/** What the owner of a secret should know of it, though it can be used. */
export function secretWarnings(secret: string | undefined): FieldError[] {
  return fieldError('secret', secret === undefined ? null : secretWarning(secret));
}

function fieldError(path: string, message: string | null): FieldError[] {
  return message === null ? [] : [{ path, message }];
}

/** A host name is judged when it is connected to, after DNS; an address and localhost can be judged now. */
function targetErrors(targetUrl: string, addressRules: AddressRules): FieldError[] {
  try {
    const url = parseTargetUrl(targetUrl);
    const known = knownAddresses(url);
    if (known.length === 0 || known.some((address) => addressRules.isAllowed(address))) return [];
    const message =
      `must not be ${url.hostname}, which is no public address: the operator can allow it with ` +
      'ALLOW_TARGET_RANGES';
    return [{ path: 'target_url', message }];
  } catch (error) {
    if (!(error instanceof InvalidTargetUrl)) throw error;
    return [{ path: 'target_url', message: error.message }];
  }
}

function eventTypeErrors(eventTypes: unknown[]): FieldError[] {
  const message =
    'must be 1 to 256 letters, digits and . _ : / - that begin with a letter or digit; * stands for any part';
  return eventTypes.flatMap((pattern, index) =>
    isEventTypePattern(pattern) ? [] : [{ path: `event_types[${index}]`, message }],
  );
}

function retryPolicyErrors(retryPolicy: unknown, minDelaySeconds: number): FieldError[] {
  try {
    resolveRetryPolicy(retryPolicy, minDelaySeconds);
    return [];
  } catch (error) {
    if (!(error instanceof InvalidRetryPolicy)) throw error;
    return [{ path: error.path, message: error.message }];
  }
}

function metadataErrors(metadata: Record<string, unknown>): FieldError[] {
  if (Buffer.byteLength(JSON.stringify(metadata)) > MAX_METADATA_BYTES) {
    return [{ path: 'metadata', message: `must be at most ${MAX_METADATA_BYTES} bytes of JSON` }];
  }
  const path = unstorablePath(metadata, 'metadata');
  return path === null ? [] : [{ path, message: 'must not hold NUL or half a surrogate pair' }];
}

/** Where a JSON value has text that a jsonb column cannot hold; null if nowhere. */
function unstorablePath(value: unknown, path: string): string | null {
  if (typeof value === 'string') return isUnstorable(value) ? path : null;
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, member] of Object.entries(value)) {
    if (isUnstorable(key)) return path;
    const found = unstorablePath(member, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
    if (found !== null) return found;
  }
  return null;
}

function isUnstorable(text: string): boolean {
  return text.includes('\0') || /\p{Cs}/u.test(text);
}
