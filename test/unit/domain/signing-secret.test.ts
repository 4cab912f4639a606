import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  generateSecret,
  secretFormat,
  secretProblem,
  secretWarning,
} from '../../../src/domain/signing-secret.js';
import { keyOfSecret } from '../../../src/domain/secret-key.js';

const whsec = (bytes: number) => `whsec_${Buffer.alloc(bytes, 0xfb).toString('base64')}`;
const BYTES = Buffer.from('6d1f0a9c4be27f53a8d0c1e5b7963482f4ad0be19c5d7e208b3f6a41d2c7e95a', 'hex');

it('are generated as whsec_ and 32 bytes, never twice', () => {
  const secrets = Array.from({ length: 100 }, () => generateSecret());
  expect(new Set(secrets).size).toBe(100);
  for (const secret of secrets) {
    expect(secretProblem(secret)).toBeNull();
    expect(keyOfSecret(secret)).toHaveLength(32);
  }
});

describe('an accepted form says how its key is derived', () => {
  it.each<[form: string, secret: string, format: string, key: Buffer]>([
    ['24 bytes', whsec(24), 'base64', Buffer.alloc(24, 0xfb)],
    ['25 bytes, padded', whsec(25), 'base64', Buffer.alloc(25, 0xfb)],
    ['64 bytes', whsec(64), 'base64', Buffer.alloc(64, 0xfb)],
    ['hexadecimal', BYTES.toString('hex'), 'raw', Buffer.from(BYTES.toString('hex'))],
    ['base64 without the prefix', BYTES.toString('base64'), 'raw', Buffer.from(BYTES.toString('base64'))],
    ['a phrase', 'correct horse battery staple', 'raw', Buffer.from('correct horse battery staple')],
    ['16 characters', 'a'.repeat(16), 'raw', Buffer.alloc(16, 'a')],
    ['256 characters', '~'.repeat(256), 'raw', Buffer.alloc(256, '~')],
    [
      'a word that begins like enc:',
      'encrypted: no, this is plain',
      'raw',
      Buffer.from('encrypted: no, this is plain'),
    ],
  ])('%s', (_, secret, format, key) => {
    expect(secretProblem(secret)).toBeNull();
    expect(secretFormat(secret)).toBe(format);
    expect(keyOfSecret(secret)).toEqual(key);
  });
});

describe('a form that is a mistake is refused with its reason', () => {
  it.each<[mistake: string, secret: unknown, reason: string]>([
    ['not a string', 12345678, 'a string'],
    ['23 bytes', whsec(23), '24 to 64 bytes'],
    ['65 bytes', whsec(65), '24 to 64 bytes'],
    ['prefix alone', 'whsec_', '24 to 64 bytes'],
    ['no base64', `whsec_${'!'.repeat(40)}`, 'base64 after whsec_'],
    ['base64url', whsec(24).replaceAll('+', '-').replaceAll('/', '_'), 'not - and _'],
    ['padding missing', whsec(25).replaceAll('=', ''), 'padded'],
    ['a list of versions', `v1,${whsec(32)}`, 'leave out what stands before'],
    ['quotation marks', `"${whsec(32)}"`, 'leave out what stands before'],
    ['an assignment', `SECRET=${whsec(32)}`, 'leave out what stands before'],
    ['capital letters', whsec(32).replace('whsec', 'WHSEC'), 'lower case'],
    ['a key of zeros', `whsec_${Buffer.alloc(32).toString('base64')}`, 'not all of them zero'],
    ['an asymmetric private key', `whsk_${BYTES.toString('base64')}`, 'asymmetric'],
    ['an asymmetric public key', `whpk_${BYTES.toString('base64')}`, 'asymmetric'],
    ['a newline at the end', `${whsec(24)}\n`, 'white space'],
    ['a space at the beginning', ' correct horse battery staple', 'white space'],
    ['a no-break space at the end', 'correct horse battery staple\u00a0', 'white space'],
    ['not ASCII', 'correct hörse battery staple', 'printable ASCII'],
    ['a control character', 'correct horse\tbattery staple', 'printable ASCII'],
    ['15 characters', 'a'.repeat(15), 'of your own'],
    ['257 characters', 'a'.repeat(257), 'of your own'],
    ['what would be taken for an encrypted one', 'enc:v2:abcdef0123456789', 'enc:'],
  ])('%s', (_, secret, reason) => {
    expect(secretProblem(secret)).toContain(reason);
  });
});

describe('a form that is probably a misunderstanding gets a warning', () => {
  it.each<[form: string, secret: string, name: string]>([
    ['hexadecimal', BYTES.toString('hex'), 'hexadecimal'],
    ['hexadecimal in capitals', BYTES.toString('hex').toUpperCase(), 'hexadecimal'],
    ['hexadecimal of 16 bytes', BYTES.toString('hex', 0, 16), 'hexadecimal'],
    ['base64', BYTES.toString('base64'), 'base64'],
    ['base64url', BYTES.toString('base64url'), 'base64'],
    ['base64 of 16 bytes', BYTES.toString('base64', 0, 16), 'base64'],
  ])('%s', (_, secret, name) => {
    expect(secretWarning(secret)).toContain(`looks like a key in ${name}`);
    expect(secretWarning(secret)).toContain(`${secret.length} characters`);
  });

  it.each([
    whsec(32),
    'correct horse battery staple',
    'correct-horse-battery-staple',
    'Tr0ub4dor&3 and 7 more words',
  ])('%s gets none', (secret) => expect(secretWarning(secret)).toBeNull());
});

it('says nothing of a secret but what is wrong with it', () => {
  const anything = fc.oneof(
    fc.string({ minLength: 12, maxLength: 300 }),
    fc
      .uint8Array({ minLength: 12, maxLength: 80 })
      .map((bytes) => `whsec_${Buffer.from(bytes).toString('base64')}`),
    fc.uint8Array({ minLength: 16, maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  );
  fc.assert(
    fc.property(anything, (secret) => {
      const told = `${secretProblem(secret) ?? ''} ${secretWarning(secret) ?? ''}`;
      for (let at = 0; at + 8 <= secret.length; at++) {
        const part = secret.slice(at, at + 8);
        if (part.trim().length === 8 && !part.includes('whsec')) expect(told).not.toContain(part);
      }
    }),
  );
});
