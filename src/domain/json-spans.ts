/**
 * Where the members of a JSON text lie, so that a payload can be kept as the very bytes that were sent: parsing and
 * writing it again would lose integers beyond 2^53, `1.0`, escapes, whitespace and duplicate keys. Plain loops over
 * bytes, since every request passes through here: UTF-8 never uses an ASCII byte inside a longer character, so the
 * structure can be read without decoding.
 */

const TAB = 0x09;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** A value's bytes, from `start` up to but not including `end`, without the whitespace around it. */
export interface Span {
  start: number;
  end: number;
}

/**
 * The values of an object's direct members by their decoded keys; of a key that occurs twice the last, as in
 * JSON.parse, which `repeated` is told.
 *
 * @param bytes JSON that JSON.parse has accepted
 * @param start where the object (or whitespace before it) begins
 * @throws TypeError if there is no object at that place
 */
export function memberSpans(
  bytes: Buffer,
  start = 0,
  end = bytes.length,
  repeated?: (key: string) => void,
): Map<string, Span> {
  const spans = new Map<string, Span>();
  let i = enter(bytes, start, end, OPEN_BRACE, 'object');
  while (i < end && bytes[i] !== CLOSE_BRACE) {
    const keyEnd = stringEnd(bytes, i, end);
    const key = decodeKey(bytes, i, keyEnd);
    i = skipWhitespace(bytes, keyEnd, end);
    if (bytes[i] !== COLON) throw new TypeError(`expected ":" at byte ${i}`);
    const valueStart = skipWhitespace(bytes, i + 1, end);
    const span = { start: valueStart, end: valueEnd(bytes, valueStart, end) };
    if (repeated && spans.has(key)) repeated(key);
    spans.set(key, span);
    i = nextItem(bytes, span.end, end);
  }
  return spans;
}

/**
 * The elements of an array, in order.
 *
 * @param bytes JSON that JSON.parse has accepted
 * @param start where the array (or whitespace before it) begins
 * @throws TypeError if there is no array at that place
 */
export function elementSpans(bytes: Buffer, start = 0, end = bytes.length): Span[] {
  const spans: Span[] = [];
  let i = enter(bytes, start, end, OPEN_BRACKET, 'array');
  while (i < end && bytes[i] !== CLOSE_BRACKET) {
    const span = { start: i, end: valueEnd(bytes, i, end) };
    spans.push(span);
    i = nextItem(bytes, span.end, end);
  }
  return spans;
}

/** The place of the first item, or of the closing bracket. */
function enter(bytes: Buffer, start: number, end: number, bracket: number, what: string): number {
  const open = skipWhitespace(bytes, start, end);
  if (open >= end || bytes[open] !== bracket) throw new TypeError(`expected an ${what} at byte ${open}`);
  return skipWhitespace(bytes, open + 1, end);
}

/** The place of the next item, or of the closing bracket. */
function nextItem(bytes: Buffer, valueEnd: number, end: number): number {
  const i = skipWhitespace(bytes, valueEnd, end);
  return bytes[i] === COMMA ? skipWhitespace(bytes, i + 1, end) : i;
}

function skipWhitespace(bytes: Buffer, start: number, end: number): number {
  let i = start;
  while (i < end && isWhitespace(bytes[i])) i++;
  return i;
}

function isWhitespace(byte: number | undefined): boolean {
  return byte === SPACE || byte === NEWLINE || byte === CARRIAGE_RETURN || byte === TAB;
}

/** Behind the value that begins at `start`. */
function valueEnd(bytes: Buffer, start: number, end: number): number {
  const first = bytes[start];
  if (first === QUOTE) return stringEnd(bytes, start, end);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return containerEnd(bytes, start, end);
  let i = start;
  while (i < end && !endsScalar(bytes[i])) i++;
  if (i === start) throw new TypeError(`expected a value at byte ${start}`);
  return i;
}

function endsScalar(byte: number | undefined): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isWhitespace(byte);
}

/** Behind the bracket that closes the one at `start`; in valid JSON it need not be asked which kind it is. */
function containerEnd(bytes: Buffer, start: number, end: number): number {
  let depth = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      i = stringEnd(bytes, i, end) - 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth++;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (--depth === 0) return i + 1;
    }
  }
  return end;
}

/** Behind the quote that closes the string whose opening quote is at `start`. */
export function stringEnd(bytes: Buffer, start: number, end: number): number {
  let i = start + 1;
  while (i < end) {
    const byte = bytes[i];
    if (byte === QUOTE) return i + 1;
    i += byte === BACKSLASH ? 2 : 1;
  }
  return end;
}

/** The name that a string says. */
export function decodeKey(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start + 1, end - 1);
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}
