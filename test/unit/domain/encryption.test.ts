import fc from 'fast-check';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { KeyRing, type SealedSecret, isSealed, UndecryptableSecret } from '../../../src/domain/encryption.js';

const KEY = randomBytes(32);
const OLD = randomBytes(32);
const idOf = (key: Buffer): string => createHash('sha256').update(key).digest('hex').slice(0, 8);
const ring = (...keys: Buffer[]): KeyRing =>
  KeyRing.parse(keys.map((key) => key.toString('base64')).join(','));

const OWNER = { table: 'subscription', tenantId: 'aaaa', id: 'bbbb' };
const keys = ring(KEY);

describe('keys', () => {
  it.each([
    ['base64', KEY.toString('base64')],
    ['base64 without its =', KEY.toString('base64').slice(0, 43)],
    ['hex', KEY.toString('hex')],
    ['hex in capitals', KEY.toString('hex').toUpperCase()],
    ['with blanks around', ` ${KEY.toString('base64')} `],
    ['with an old one behind', `${KEY.toString('base64')}, ${OLD.toString('hex')}`],
  ])('are read: %s', (_, text) => {
    const read = KeyRing.parse(text);
    expect(read.firstId).toBe(idOf(KEY));
    expect(read.decrypt(keys.encrypt('s', OWNER), OWNER)).toBe('s');
  });

  it.each([
    ['too short', randomBytes(31).toString('base64'), 'must be 32 random bytes in base64 or hex:'],
    ['too long', randomBytes(33).toString('base64'), 'must be 32 random bytes'],
    ['too short in hex', randomBytes(31).toString('hex'), 'must be 32 random bytes'],
    ['a password', 'correct horse battery staple', 'must be 32 random bytes'],
    ['base64 of URLs', `${'-_'.repeat(21)}A=`, 'must be 32 random bytes'],
    ['none behind a comma', `${KEY.toString('base64')},`, '(key 2 of 2)'],
    ['twice the same', `${KEY.toString('base64')},${KEY.toString('hex')}`, 'the same key twice'],
  ])('are refused, and not repeated: %s', (_, text, message) => {
    expect(() => KeyRing.parse(text)).toThrow(message);
    const [entry] = text.split(',').slice(-1);
    const said = (error: unknown) => (error as Error).message;
    try {
      KeyRing.parse(text);
    } catch (error) {
      if (entry !== '') expect(said(error)).not.toContain(entry);
      expect(said(error)).not.toContain(KEY.toString('base64'));
    }
  });

  it('are made as they are read', () => {
    const made = KeyRing.generateKey();
    expect(Buffer.from(made, 'base64')).toHaveLength(32);
    expect(KeyRing.parse(made).ids).toHaveLength(1);
    expect(KeyRing.generateKey()).not.toBe(made);
  });

  it('are never shown', () => {
    const shown = [inspect(keys, { showHidden: true, depth: 9 }), JSON.stringify(keys)].join();
    expect(shown).toContain(idOf(KEY));
    for (const form of ['base64', 'hex'] as const)
      expect(shown).not.toContain(KEY.toString(form).slice(0, 20));
    expect(shown).not.toContain(inspect(KEY).slice(8, 30));
  });
});

describe('a stored secret', () => {
  const text = fc.string({ unit: 'binary', maxLength: 300 });
  const owner = fc.record({
    table: fc.constantFrom('subscription', 'source'),
    tenantId: fc.uuid(),
    id: fc.uuid(),
  });

  it('is what was put in, and says which key it is under', () => {
    fc.assert(
      fc.property(text, owner, (plain, of) => {
        const stored = keys.encrypt(plain, of);
        expect(stored).toMatch(new RegExp(`^enc:v1:${idOf(KEY)}:[A-Za-z0-9+/]+={0,2}$`));
        expect([isSealed(stored), isSealed(stored, keys.firstId), isSealed(stored, idOf(OLD))]).toEqual([
          true,
          true,
          false,
        ]);
        expect(keys.decrypt(stored, of)).toBe(plain);
      }),
    );
  });

  it('never looks the same twice', () => {
    const made = Array.from({ length: 1_000 }, () => keys.encrypt('the same', OWNER));
    expect(new Set(made.map((stored) => stored.slice(16, 32))).size).toBe(made.length); // the nonces
  });

  it('is AES-256-GCM as other programs write it', () => {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', KEY, nonce);
    cipher.setAAD(Buffer.from('posthorn:subscription:aaaa:bbbb'));
    const sealed = Buffer.concat([nonce, cipher.update('a secret'), cipher.final(), cipher.getAuthTag()]);
    const stored = `enc:v1:${idOf(KEY)}:${sealed.toString('base64')}` as SealedSecret;
    expect(keys.decrypt(stored, OWNER)).toBe('a secret');
  });

  it('cannot be changed in any bit', () => {
    const stored = keys.encrypt('a secret', OWNER);
    const head = stored.slice(0, 16);
    const bytes = Buffer.from(stored.slice(16), 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const forged = (head + changed.toString('base64')) as SealedSecret;
      expect(() => keys.decrypt(forged, OWNER), `bit ${bit}`).toThrow(UndecryptableSecret);
    }
  });

  it('cannot be cut short', () => {
    const stored = keys.encrypt('a secret', OWNER);
    for (let length = 'enc:v1:01234567:'.length; length < stored.length - 1; length++) {
      const cut = stored.slice(0, length) as SealedSecret;
      expect(() => keys.decrypt(cut, OWNER), cut).toThrow(UndecryptableSecret);
    }
  });

  it.each([
    ['another row', { ...OWNER, id: 'cccc' }],
    ['another tenant', { ...OWNER, tenantId: 'cccc' }],
    ['another table', { ...OWNER, table: 'source' }],
    ['the ids exchanged', { ...OWNER, tenantId: 'bbbb', id: 'aaaa' }],
  ])('cannot be read in %s', (_, thief) => {
    const stored = keys.encrypt('a secret', OWNER);
    expect(() => keys.decrypt(stored, thief)).toThrow('belongs to another row');
  });

  it('is read whatever the case of the ids', () => {
    const stored = keys.encrypt('a secret', { ...OWNER, id: 'BBBB' });
    expect(keys.decrypt(stored, OWNER)).toBe('a secret');
  });

  it('is read with an old key, and written with the first', () => {
    const before = ring(OLD);
    const stored = before.encrypt('a secret', OWNER);
    const both = ring(KEY, OLD);
    expect(both.decrypt(stored, OWNER)).toBe('a secret');
    expect(both.encrypt('a secret', OWNER)).toContain(`:${idOf(KEY)}:`);
    expect(() => keys.decrypt(stored, OWNER)).toThrow(
      `it is under the encryption key ${idOf(OLD)}, which ENCRYPTION_KEY does not hold`,
    );
    expect(() => ring(KEY).decrypt(stored, OWNER)).toThrow(UndecryptableSecret);
  });

  it.each([
    'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD4m3pN5Qz8wY=',
    'a secret of my own',
    'encoded: not encrypted',
  ])('from before there was encryption is read as it is: %s', (plain) => {
    expect(keys.decrypt(plain as SealedSecret, OWNER)).toBe(plain);
    expect(isSealed(plain)).toBe(false);
    expect(keys.decrypt(keys.encrypt(plain, OWNER), OWNER)).toBe(plain);
  });

  it.each([
    'enc:',
    'enc:v1:',
    'enc:v1:0123abcd',
    keys.encrypt('a secret', OWNER).replace('enc:v1:', 'enc:v2:'),
    'enc:aws-kms:0123abcd:AAAA',
  ])('of a version to come is not taken for plain text: %s', (stored) => {
    expect(() => keys.decrypt(stored as SealedSecret, OWNER)).toThrow(UndecryptableSecret);
    expect(() => keys.decrypt(stored as SealedSecret, OWNER)).toThrow(
      'this version of Posthorn does not know',
    );
    // Before, a user could choose such a secret; what is encrypted of it is read.
    expect(keys.decrypt(keys.encrypt(stored, OWNER), OWNER)).toBe(stored);
  });
});
