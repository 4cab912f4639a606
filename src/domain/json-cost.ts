import { randomInt } from 'node:crypto';
import { stringEnd } from './json-spans.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What JSON.parse takes for a string, an array or an object (0.15 µs), measured in numbers (0.02 µs). */
const PIECE = 8;
/** What it takes on top for a member with one of many names (0.8 µs): V8 cannot tell them all by the object's shape. */
const RARE_NAME = 40;
/** So many names are not rare: of the 2,300 in all events of GitHub, a thousand are those of nearly all members. */
const USUAL_NAMES = 1_000;
/** Names are told apart only behind so many members, so that most texts need not be asked. */
const FREE_MEMBERS = 10_000;

const NONE = -1;

/** Odd and random, so that a client cannot choose names that collide: two names have the same hash only by chance. */
const MULTIPLIER = randomInt(2 ** 30) * 2 + 1;

/** How much a JSON text may ask of who parses it, which its size tells badly: from 2 to 150 ns a byte. */
export interface JsonLimits {
  /** Arrays and objects inside each other; `[]` is 1 deep. */
  depth: number;
  /**
   * Strings, names of members among them, arrays and objects. Eight numbers, or other scalars, count as one; a member
   * with a rare name, where there are many, as six.
   */
  pieces: number;
}

/**
 * The first of the limits that a text exceeds, or null. For use before JSON.parse: the bytes need not be JSON, and of
 * what is not JSON the answer means nothing.
 */
export function exceededLimit(bytes: Buffer, limits: JsonLimits): keyof JsonLimits | null {
  const end = bytes.length;
  const names = new Set<number>();
  let costLeft = limits.pieces * PIECE;
  let freeMembers = FREE_MEMBERS;
  let depth = 0;
  let stringStart = NONE;
  for (let i = 0; i < end; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      stringStart = i;
      i = stringEnd(bytes, i, end) - 1;
      costLeft -= PIECE;
    } else if (byte === COMMA) {
      if (--costLeft < 0) return 'pieces';
    } else if (byte === COLON) {
      // Each string once: of what is not JSON, any number of colons may follow a long one.
      if (--freeMembers < 0 && stringStart !== NONE && isRare(names, bytes, stringStart))
        costLeft -= RARE_NAME;
      stringStart = NONE;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++depth > limits.depth) return 'depth';
      costLeft -= PIECE;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--;
    }
  }
  return costLeft < 0 ? 'pieces' : null;
}

/** Whether the name that begins here is none of the first that there were. */
function isRare(names: Set<number>, bytes: Buffer, start: number): boolean {
  const hash = hashOfString(bytes, start);
  if (names.size >= USUAL_NAMES) return !names.has(hash);
  names.add(hash);
  return false;
}

function hashOfString(bytes: Buffer, start: number): number {
  const end = stringEnd(bytes, start, bytes.length);
  let hash = 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), MULTIPLIER) ^ (hash >>> 15);
  return hash;
}
