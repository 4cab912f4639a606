import { randomBytes } from 'node:crypto';

/** No UUID sorts before it (RFC 9562 section 5.9, the nil UUID). */
export const LEAST_UUID = '00000000-0000-0000-0000-000000000000';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const MAX_MS = 2 ** 48 - 1;
/** Hexadecimal digits of randomness that an id takes: 3 and 3 and 12 after version and variant, one for the variant. */
const DIGITS_PER_UUID = 19;
/** One call to the system's random source serves this many ids: a call of its own costs more than the id. */
const UUIDS_PER_REFILL = 512;
/** The digit that begins with the two bits of the variant, 10, by the digit whose other two bits it takes. */
const VARIANT: Record<string, string> = Object.fromEntries(
  [...'0123456789abcdef'].map((digit, value) => [digit, '89ab'.charAt(value & 3)]),
);

let random = '';
let used = 0;
let lastMs = -1;
let lastTimestamp = '';

/**
 * A new UUID version 7 (RFC 9562 section 5.7): 48 bits of time, then 74 random bits. Ids of different
 * milliseconds sort by time; within one millisecond their order is random.
 *
 * @param ms Unix time in milliseconds, an integer
 * @throws RangeError if the time does not fit in 48 bits
 */
export function uuidV7(ms: number): string {
  if (used === random.length) {
    random = randomBytes((DIGITS_PER_UUID * UUIDS_PER_REFILL) / 2).toString('hex');
    used = 0;
  }
  if (ms !== lastMs) {
    lastTimestamp = timestampPart(ms);
    lastMs = ms;
  }
  const at = used;
  used += DIGITS_PER_UUID;
  return assembled(lastTimestamp, random, at);
}

/**
 * The UUIDv7 of a time and given random digits, the same each time.
 *
 * @param digits at least 19 hexadecimal digits
 * @throws RangeError if the time does not fit in 48 bits
 */
export function uuidV7Of(ms: number, digits: string): string {
  return assembled(timestampPart(ms), digits, 0);
}

function assembled(timestamp: string, digits: string, at: number): string {
  const variant = VARIANT[digits.charAt(at)] as string;
  const [second, third] = [digits.slice(at + 1, at + 4), digits.slice(at + 4, at + 7)];
  return `${timestamp}-7${second}-${variant}${third}-${digits.slice(at + 7, at + DIGITS_PER_UUID)}`;
}

/**
 * The lowest value a UUIDv7 of that millisecond can be compared with: its timestamp, all other bits zero (version
 * and variant too, so it is a bound and not an id). The bound of a partition and the start of an id range.
 *
 * @param ms Unix time in milliseconds, an integer
 * @throws RangeError if the time does not fit in 48 bits
 */
export function uuidV7Floor(ms: number): string {
  return `${timestampPart(ms)}-0000-0000-000000000000`;
}

/** The Unix time in milliseconds that a UUIDv7 (or a floor) carries. */
export function uuidTime(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Whether it is a UUID of any version in the form 8-4-4-4-12, in lower or upper case. */
export function isUuid(s: unknown): s is string {
  return typeof s === 'string' && UUID.test(s);
}

function timestampPart(ms: number): string {
  if (!Number.isInteger(ms) || ms < 0 || ms > MAX_MS) {
    throw new RangeError(`a UUIDv7 needs a time of whole milliseconds from 0 to 2^48 - 1, not ${ms}`);
  }
  const digits = ms.toString(16).padStart(12, '0');
  return `${digits.slice(0, 8)}-${digits.slice(8)}`;
}
