import type { ResponseHead } from './response-head.js';

/** Where the body of an answer ends, and for how long its connection may be kept. */
export interface ResponseFraming {
  body: { kind: 'none' } | { kind: 'length'; length: number } | { kind: 'chunked' } | { kind: 'close' };
  /** Milliseconds for which the connection may wait for the next request; 0 when it must not be used again. */
  keepAliveMs: number;
  /** What in the head contradicts itself. */
  note: string | null;
}

/** Milliseconds for which an unused connection is kept when the server names no time of its own. */
const KEEP_ALIVE_MS = 4_000;
/** The longest that a server can ask us to keep an unused connection. */
export const MAX_IDLE_MS = 30_000;
/** Milliseconds before the end that a server names: a request on its way then would be lost. */
const KEEP_ALIVE_MARGIN_MS = 1_000;

/** Characters of a header that says where the body ends: an honest one has a few dozen. */
const MAX_VALUE = 1_024;
const FRAMING_HEADERS = ['content-length', 'transfer-encoding', 'connection', 'keep-alive'];

const NO_BODY = { kind: 'none' } as const;
const UNTIL_CLOSE = { kind: 'close' } as const;
const CHUNKED = { kind: 'chunked' } as const;

/**
 * RFC 9112 section 6.3, in its order. 204, 205 and 304 have no body (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5),
 * whatever their headers announce; what was announced may still come, so the connection is not used again.
 */
export function framingOf(head: ResponseHead): ResponseFraming {
  if (FRAMING_HEADERS.some((name) => (head.headers.get(name)?.length ?? 0) > MAX_VALUE)) {
    return { body: UNTIL_CLOSE, keepAliveMs: 0, note: 'a header that frames it is too long' };
  }
  const { statusCode, headers } = head;
  const coding = headers.get('transfer-encoding');
  const announced = headers.get('content-length');
  const length = announced === undefined ? null : parseLength(announced);
  const keepAliveMs = keepAliveOf(head);

  if (statusCode === 204 || statusCode === 205 || statusCode === 304) {
    const isExact = coding === undefined && (length === 0 || (length === null && statusCode !== 205));
    return { body: NO_BODY, keepAliveMs: isExact && !Number.isNaN(length) ? keepAliveMs : 0, note: null };
  }
  if (coding !== undefined) {
    if (!/(?:^|,)\s*chunked$/i.test(coding)) return { body: UNTIL_CLOSE, keepAliveMs: 0, note: null };
    // With Content-Length beside it, or in HTTP/1.0, it may be request smuggling (RFC 9112 section 6.1).
    const isExact = length === null && !head.isHttp10 && coding.toLowerCase() === 'chunked';
    return { body: CHUNKED, keepAliveMs: isExact ? keepAliveMs : 0, note: null };
  }
  if (length === null) return { body: UNTIL_CLOSE, keepAliveMs: 0, note: null };
  if (Number.isNaN(length))
    return { body: UNTIL_CLOSE, keepAliveMs: 0, note: 'its Content-Length is invalid' };
  // A zero without a body and a body of zero bytes are the same.
  return { body: length === 0 ? NO_BODY : { kind: 'length', length }, keepAliveMs, note: null };
}

/** @returns the length; NaN when it is none, or when there are several that differ */
function parseLength(value: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  const lengths = new Set(value.split(',').map((each) => each.trim()));
  const [only = ''] = lengths;
  return lengths.size === 1 && /^\d{1,15}$/.test(only) ? Number(only) : NaN;
}

function keepAliveOf({ headers, isHttp10, isOdd }: ResponseHead): number {
  if (isOdd) return 0;
  const connection = headers.get('connection')?.toLowerCase();
  if (connection === undefined) {
    if (isHttp10) return 0;
  } else if (connection !== 'keep-alive') {
    const options = connection.split(',').map((each) => each.trim());
    if (options.includes('close') || (isHttp10 && !options.includes('keep-alive'))) return 0;
  }
  const asked = headers.get('keep-alive');
  const seconds = asked === undefined ? undefined : /(?:^|[\s,;])timeout\s*=\s*"?(\d{1,9})/i.exec(asked)?.[1];
  if (seconds === undefined) return KEEP_ALIVE_MS;
  return Math.min(Math.max(Number(seconds) * 1000 - KEEP_ALIVE_MARGIN_MS, 0), MAX_IDLE_MS);
}
