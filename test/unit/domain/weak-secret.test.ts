import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { KeyRing } from '../../../src/domain/encryption.js';
import { weaknessOfBytes, weaknessOfText } from '../../../src/domain/weak-secret.js';

it.each([
  'aaaaaaaaaaaaaaaa',
  '0000000000000000',
  'abababababababab',
  'abcabcabcabcabcabcabc',
  'secretsecretsecret',
  'correct-horse-correct-horse-',
  '0123456789abcdef',
  'abcdefghijklmnopqrstuvwxyz',
  'ABCDefghIJKLmnop',
  'zyxwvutsrqponmlk',
  '1234567890123456',
  'qwertyuiopasdfgh',
  'qwertyuiopqwertyuiop',
  'change-me-please-1234',
  'changeme-0f3b9a7c5d21',
  'your-admin-api-key-here',
  'MyPassword-2026-xyz',
])('finds %s weak', (text) => {
  expect(weaknessOfText(text)).not.toBeNull();
});

it.each(['0f3b9a7c5d2148e6', 'correct-horse-battery-staple', 'admin-key-of-the-tests', 'Zq7-mB2xLw9_pK4d'])(
  'has nothing against %s',
  (text) => {
    expect(weaknessOfText(text)).toBeNull();
  },
);

/** All of `count` random texts of so many bytes in that encoding: what documentation tells people to make. */
it.each([
  ['openssl rand -hex 32', 32, 'hex'],
  ['openssl rand -base64 32', 32, 'base64'],
  ['openssl rand -base64 18', 18, 'base64'],
] as const)('has nothing against what %s makes', (_, bytes, encoding) => {
  const weak = Array.from({ length: 2_000 }, () => randomBytes(bytes))
    .filter((secret) => !/passw|change|replace/i.test(secret.toString(encoding)))
    .filter(
      (secret) =>
        weaknessOfText(secret.toString(encoding)) ??
        weaknessOfBytes(Buffer.concat([secret, secret.subarray(0, 1)])),
    );
  expect(weak).toEqual([]);
});

it('finds every text weak that repeats a shorter one', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 12 }), fc.integer({ min: 2, max: 8 }), (text, times) => {
      expect(weaknessOfText(text.repeat(times))).not.toBeNull();
    }),
  );
});

const base64 = (bytes: number[] | Buffer): string => Buffer.from(bytes).toString('base64');
const range = Array.from({ length: 32 }, (_, index) => index);
const WEAK_KEYS = {
  zeros: base64(range.map(() => 0)),
  'one byte': base64(range.map(() => 0x6b)),
  'a pattern': base64(range.map((index) => (index % 8) * 0x22)),
  'a sequence': base64(range),
  'a sequence backwards': base64(range.toReversed()),
  'a word again and again': base64(Buffer.alloc(32, 'encryption-key--')),
};

it.each(Object.entries(WEAK_KEYS))(
  'refuses an encryption key of %s, and says how to get away from it',
  (_, key) => {
    expect(() => KeyRing.parse(key)).toThrow(/openssl rand -base64 32.*reencrypt/);
    expect(() => KeyRing.parse(`${key},${KeyRing.generateKey()}`)).toThrow();
    // Else what it encrypted could not be encrypted anew.
    expect(KeyRing.parse(`${KeyRing.generateKey()},${key}`).ids).toHaveLength(2);
  },
);
