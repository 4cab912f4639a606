import { hash } from 'node:crypto';
import { AddressRanges } from './address-ranges.js';
import { weaknessOfText } from './weak-secret.js';

/** The name of the key in ADMIN_API_KEY, in the audit log and in log lines. */
export const DEFAULT_OPERATOR = 'admin';

/** A key of an operator. The key itself is not kept. */
export interface OperatorKey {
  /** Stands in the audit log for the person or program that has the key. */
  name: string;
  /** SHA-256 of the key, in base64. */
  sha256: string;
  /** Where it may be used from; null: from everywhere that {@link OperatorKeys} allows. */
  allowedIps: AddressRanges | null;
}

const MIN_LENGTH = 16;
const MAX_LENGTH = 256;
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i;
const MAX_KEYS = 100;

/**
 * A secret that opens something by itself, as the environment gives it.
 * @throws Error that says what is wrong with it, without repeating it
 */
export function readBearerSecret(value: string): string {
  if (!/^[!-~]+$/.test(value) || value.length < MIN_LENGTH || value.length > MAX_LENGTH) {
    throw new Error(`must have ${MIN_LENGTH} to ${MAX_LENGTH} characters of ASCII, no spaces`);
  }
  const weakness = weaknessOfText(value);
  if (weakness !== null) {
    throw new Error(
      `must not ${weakness}: anybody could guess it. Make a new one with "openssl rand -hex 32", and give it to what uses the old one`,
    );
  }
  return value;
}

export function operatorKey(name: string, key: string): OperatorKey {
  return { name, sha256: hash('sha256', key, 'base64'), allowedIps: null };
}

/**
 * Reads `name=key` entries with commas between. Instead of the key, `sha256:` and its SHA-256 in hexadecimal digits
 * may stand; behind it, after spaces, the addresses and CIDRs that it may be used from:
 * `alice=3fb0…, deploy=sha256:9f86… 192.0.2.0/24 2001:db8::/32`.
 * @throws Error that says what is wrong with which entry, without repeating any key
 */
export function parseOperatorKeys(text: string): OperatorKey[] {
  const keys = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map(readEntry);
  if (keys.length > MAX_KEYS) throw new Error(`must hold at most ${MAX_KEYS} keys`);
  requireDistinct(keys);
  return keys;
}

/** @throws Error if two keys have one name, or two names one key: the audit log could not tell them apart */
export function requireDistinct(keys: readonly OperatorKey[]): void {
  const names = new Set<string>();
  const hashes = new Map<string, string>();
  for (const { name, sha256 } of keys) {
    if (names.has(name)) {
      throw new Error(`must not hold the name "${name}" twice: call the new key of a rotation ${name}-2`);
    }
    const other = hashes.get(sha256);
    if (other !== undefined)
      throw new Error(`must not hold one key under two names, "${other}" and "${name}"`);
    names.add(name);
    hashes.set(sha256, name);
  }
}

function readEntry(entry: string, index: number): OperatorKey {
  const at = entry.indexOf('=');
  const name = entry.slice(0, Math.max(at, 0)).trim();
  if (!NAME.test(name)) {
    throw new Error(
      `must hold entries such as alice=KEY; what stands before the = of entry ${index + 1} is no name of letters, digits, dots, _ and -`,
    );
  }
  const [key = '', ...ranges] = entry
    .slice(at + 1)
    .trim()
    .split(/\s+/);
  try {
    const allowedIps = ranges.length === 0 ? null : AddressRanges.parse(ranges);
    const hashed = /^sha256:([0-9a-f]{64})$/i.exec(key)?.[1];
    if (hashed !== undefined) {
      return { name, sha256: Buffer.from(hashed, 'hex').toString('base64'), allowedIps };
    }
    if (/^sha256:/i.test(key)) throw new Error('must have 64 hexadecimal digits behind sha256:');
    return { ...operatorKey(name, readBearerSecret(key)), allowedIps };
  } catch (error) {
    throw new Error(`is wrong for "${name}": it ${(error as Error).message}`, { cause: error });
  }
}
