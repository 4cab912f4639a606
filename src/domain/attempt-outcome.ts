import type { DeadReason } from './delivery-status.js';
import { nextDelayMs, type RetryPolicy } from './retry-policy.js';

export type SendFailureCode =
  | 'connect_timeout'
  | 'timeout'
  | 'dns'
  | 'connection_refused'
  | 'connection_reset'
  | 'tls'
  | 'protocol'
  | 'blocked_target'
  | 'invalid_target'
  /** Nothing was sent: the fault is in the keys of this service. */
  | 'secret_unreadable';

/** What came of one HTTP try: an answer of any status, or none. */
export type SendResult =
  | {
      kind: 'response';
      statusCode: number;
      headers: Record<string, string>;
      body: string;
      /** The Retry-After header as it was sent. */
      retryAfter: string | null;
      /** In which way the answer was not complete; the head decides all the same. */
      note: string | null;
      durationMs: number;
    }
  | { kind: 'failure'; code: SendFailureCode; message: string; durationMs: number };

/** What a result means, before any retry policy is asked. */
export type AttemptOutcome =
  | { kind: 'delivered' }
  | { kind: 'retry'; error: string; /** What the subscriber asked for. */ retryAfterMs: number | null }
  /** The subscriber wants no more of this subscription (410). */
  | { kind: 'gone'; error: string }
  /** The target is one that Posthorn does not call, so trying again is of no use. */
  | { kind: 'refused'; reason: Extract<DeadReason, 'blocked_target' | 'invalid_target'>; error: string };

/** What becomes of the delivery. */
export type Decision =
  | { status: 'delivered' }
  | { status: 'retrying'; nextAttemptAtMs: number }
  | { status: 'dead'; reason: DeadReason };

export interface DecisionContext {
  policy: RetryPolicy;
  /** Holds for policies that were stored under another limit, and for what jitter takes off. */
  minDelayMs: number;
  /** Failed attempts in this budget, this one included. */
  failures: number;
  nowMs: number;
  /** Uniform in [0, 1). */
  random: () => number;
}

/**
 * What the result of one try means: only 2xx is success; 410 is the end of the subscription; a forbidden or
 * impossible target is refused at once; everything else, redirects included, is tried again. Retry-After counts with 429 and
 * 503 (RFC 9110 section 10.2.3, RFC 6585 section 4).
 *
 * @param retryAfterCapMs the longest wait that a subscriber may ask for
 */
export function classify(result: SendResult, nowMs: number, retryAfterCapMs: number): AttemptOutcome {
  if (result.kind === 'failure') {
    const error = `${result.code}: ${result.message}`;
    return result.code === 'blocked_target' || result.code === 'invalid_target'
      ? { kind: 'refused', reason: result.code, error }
      : { kind: 'retry', error, retryAfterMs: null };
  }
  const { statusCode } = result;
  if (statusCode >= 200 && statusCode <= 299) return { kind: 'delivered' };
  if (statusCode === 410) return { kind: 'gone', error: 'HTTP 410: the subscriber is gone' };
  if (statusCode >= 300 && statusCode <= 399) {
    return { kind: 'retry', error: `HTTP ${statusCode}: redirects are not followed`, retryAfterMs: null };
  }
  const error = `HTTP ${statusCode}`;
  if (statusCode !== 429 && statusCode !== 503) return { kind: 'retry', error, retryAfterMs: null };
  const asked = parseRetryAfter(result.retryAfter, nowMs);
  return { kind: 'retry', error, retryAfterMs: asked === null ? null : Math.min(asked, retryAfterCapMs) };
}

/** What becomes of the delivery. Retry-After and the least delay make the policy's delay longer, never shorter. */
export function decide(outcome: AttemptOutcome, context: DecisionContext): Decision {
  switch (outcome.kind) {
    case 'delivered':
      return { status: 'delivered' };
    case 'gone':
      return { status: 'dead', reason: 'gone' };
    case 'refused':
      return { status: 'dead', reason: outcome.reason };
    case 'retry': {
      const delayMs = nextDelayMs(context.policy, context.failures, context.random);
      if (delayMs === null) return { status: 'dead', reason: 'exhausted' };
      return {
        status: 'retrying',
        nextAttemptAtMs: context.nowMs + Math.max(delayMs, context.minDelayMs, outcome.retryAfterMs ?? 0),
      };
    }
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTH = `(?<month>${MONTHS.join('|')})`;
const TIME = String.raw`(?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)`;
/** The three forms of HTTP-date, RFC 9110 section 5.6.7: IMF-fixdate, RFC 850, asctime. */
const HTTP_DATES = [
  new RegExp(String.raw`^[A-Z][a-z]{2}, (?<day>\d\d) ${MONTH} (?<year>\d{4}) ${TIME} GMT$`),
  new RegExp(String.raw`^[A-Z][a-z]{5,8}, (?<day>\d\d)-${MONTH}-(?<year>\d\d) ${TIME} GMT$`),
  new RegExp(String.raw`^[A-Z][a-z]{2} ${MONTH} (?<day>[ \d]\d) ${TIME} (?<year>\d{4})$`),
];

/**
 * The wait in milliseconds that a Retry-After header asks for (RFC 9110 section 10.2.3: seconds or an HTTP-date),
 * 0 for a date that has passed, null if there is none or it is neither.
 */
export function parseRetryAfter(value: string | null, nowMs: number): number | null {
  const text = value?.trim() ?? '';
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER);
  const atMs = parseHttpDate(text, nowMs);
  return atMs === null ? null : Math.max(0, atMs - nowMs);
}

function parseHttpDate(text: string, nowMs: number): number | null {
  for (const form of HTTP_DATES) {
    const parts = form.exec(text)?.groups;
    if (parts === undefined) continue;
    const part = (name: string) => Number(parts[name]);
    return Date.UTC(
      fullYear(parts['year'] ?? '', nowMs),
      MONTHS.indexOf(parts['month'] ?? ''),
      part('day'),
      part('hour'),
      part('minute'),
      part('second'),
    );
  }
  return null;
}

/** RFC 9110 section 5.6.7: two digits that would be more than 50 years ahead are of the past. */
function fullYear(digits: string, nowMs: number): number {
  if (digits.length === 4) return Number(digits);
  const latest = new Date(nowMs).getUTCFullYear() + 50;
  return latest - ((latest - Number(digits)) % 100);
}
