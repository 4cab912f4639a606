import { randomFillSync } from 'node:crypto';

const RANDOM_BYTES_PER_UUID = 10;
/** One call to the system's random source serves this many ids: a call of its own costs more than the id. */
const UUIDS_PER_REFILL = 512;
const MAX_MS = 2 ** 48 - 1;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

const pool = new Uint8Array(RANDOM_BYTES_PER_UUID * UUIDS_PER_REFILL);
let used = pool.length;

/**
 * A new UUID version 7 (RFC 9562 section 5.7): 48 bits of time, then 74 random bits. Ids of different
 * milliseconds sort by time; within one millisecond their order is random.
 *
 * @param ms Unix time in milliseconds, an integer
 * @throws RangeError if the time does not fit in 48 bits
 */
export function uuidV7(ms: number): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const at = used;
  used += RANDOM_BYTES_PER_UUID;
  const versionAndRandom = (byteAt(at) & 0x0f) | 0x70;
  const variantAndRandom = (byteAt(at + 2) & 0x3f) | 0x80;
  return (
    timestampPart(ms) +
    '-' +
    hex(versionAndRandom) +
    hex(byteAt(at + 1)) +
    '-' +
    hex(variantAndRandom) +
    hex(byteAt(at + 3)) +
    '-' +
    hex(byteAt(at + 4)) +
    hex(byteAt(at + 5)) +
    hex(byteAt(at + 6)) +
    hex(byteAt(at + 7)) +
    hex(byteAt(at + 8)) +
    hex(byteAt(at + 9))
  );
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
  const high = Math.floor(ms / 2 ** 16);
  return (
    hex((high >>> 24) & 0xff) +
    hex((high >>> 16) & 0xff) +
    hex((high >>> 8) & 0xff) +
    hex(high & 0xff) +
    '-' +
    hex(Math.floor(ms / 2 ** 8) & 0xff) +
    hex(ms & 0xff)
  );
}

function byteAt(index: number): number {
  return pool[index] as number;
}

function hex(byte: number): string {
  return HEX[byte] as string;
}
