import { FieldError } from '../domain/errors.js';

const MAX_HEADERS = 20;
const MAX_NAME_LENGTH = 128;
const MAX_VALUE_LENGTH = 4096;
/** Names and values together: every worker of a tenant keeps the headers of all its subscriptions in memory. */
const MAX_LENGTH = 8192;

/**
 * Letters, digits and hyphens, of what RFC 9110 (sections 5.1 and 5.6.2) lets pass: CGI, and what is built like it
 * (RFC 3875 section 4.1.18), turns every other character into _ as it does -, so that `Content_Length` or
 * `Webhook.Signature` would stand for the header of that name there.
 */
const FIELD_NAME = /^[0-9A-Za-z][0-9A-Za-z-]*$/;

/** Narrower than RFC 9110 section 5.5, which lets bytes beyond ASCII and tabs pass but gives them no meaning. */
const FIELD_VALUE = /^[\x20-\x7e]*$/;

/** Stands for a value that is not shown. */
const MASK = '***';

/**
 * Headers that Posthorn sets itself, those that steer the connection or the framing of the message, and those in which
 * a proxy tells the server behind it where a request came from and what it was for: only a proxy of the subscriber's
 * may say that.
 */
const RESERVED = new Set([
  'accept-encoding',
  'cdn-loop',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'forwarded',
  'host',
  'http2-settings',
  'keep-alive',
  'max-forwards',
  'te',
  'traceparent',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'via',
  'x-http-method-override',
  'x-original-url',
  'x-real-ip',
  'x-request-id',
  'x-rewrite-url',
]);
const RESERVED_PREFIXES = ['proxy-', 'webhook-', 'x-forwarded-', 'x-webhook-'];

/** What is wrong with the headers that a subscription wants on its deliveries. */
export function headerErrors(headers: Record<string, unknown>): FieldError[] {
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) {
    return [{ path: 'headers', message: `must have at most ${MAX_HEADERS} headers` }];
  }
  const length = entries.reduce((sum, [name, value]) => sum + name.length + String(value).length, 0);
  if (length > MAX_LENGTH) {
    return [
      { path: 'headers', message: `must have at most ${MAX_LENGTH} characters in names and values together` },
    ];
  }
  const seen = new Set<string>();
  return entries.flatMap(([name, value]) => {
    const message = nameError(name, seen) ?? valueError(value);
    seen.add(name.toLowerCase());
    return message === null ? [] : [{ path: `headers.${name.slice(0, MAX_NAME_LENGTH)}`, message }];
  });
}

/** The headers for those who may not see their values. */
export function maskedHeaders(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.keys(headers).map((name) => [name, MASK]));
}

function nameError(name: string, seen: ReadonlySet<string>): string | null {
  const lower = name.toLowerCase();
  if (name.length > MAX_NAME_LENGTH || !FIELD_NAME.test(name)) {
    return (
      `must be a header name of 1 to ${MAX_NAME_LENGTH} letters, digits and hyphens: many servers take every other ` +
      'character, _ among them, for a hyphen'
    );
  }
  if (RESERVED.has(lower) || RESERVED_PREFIXES.some((prefix) => lower.startsWith(prefix))) {
    return 'is reserved for Posthorn, HTTP itself and proxies: use another name';
  }
  return seen.has(lower) ? 'is there twice: upper and lower case name the same header' : null;
}

function valueError(value: unknown): string | null {
  if (value === MASK) {
    return `is what stands for a value that is not shown: send the real value, or leave the header out`;
  }
  if (typeof value === 'string' && value.length <= MAX_VALUE_LENGTH && FIELD_VALUE.test(value)) return null;
  return `must be a string of at most ${MAX_VALUE_LENGTH} printable ASCII characters`;
}
