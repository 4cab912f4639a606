import { createCipheriv, createDecipheriv, createSecretKey, hash, KeyObject, randomBytes } from 'node:crypto';
import { weaknessOfBytes } from './weak-secret.js';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
/** NIST SP 800-38D section 8.2.2: random nonces of 96 bits, for up to 2^32 values a key. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** How every encrypted secret begins, those of versions to come included. */
const MARK = 'enc:';
const SEALED = /^enc:v1:(.{8}):/;

/**
 * A secret as it is stored: `enc:v1:<key id>:<base64 of nonce, ciphertext and tag>`, or in plain text where it was
 * written before there was encryption. The type keeps plain text from being stored by mistake.
 */
export type SealedSecret = string & { readonly [sealed]: true };
declare const sealed: unique symbol;

/** The row that a secret belongs to: a ciphertext that is copied to another one cannot be decrypted there. */
export interface SecretOwner {
  table: string;
  tenantId: string;
  id: string;
}

/** A stored secret that no key at hand opens. Says which key it wants, and nothing of what it holds. */
export class UndecryptableSecret extends Error {}

/**
 * The keys that protect secrets at rest: the first one encrypts, every one decrypts. AES-256-GCM, with the owner of
 * a secret as associated data. Never shows a key, however it is printed.
 */
export class KeyRing {
  readonly #keys: ReadonlyMap<string, KeyObject>;
  readonly #first: KeyObject;
  /** The id of the key that encrypts. Ids are the first 8 hex digits of a key's SHA-256, and no secret. */
  readonly firstId: string;

  private constructor([first, ...others]: [Buffer, ...Buffer[]]) {
    this.#first = createSecretKey(first);
    this.firstId = idOf(first);
    this.#keys = new Map([
      [this.firstId, this.#first],
      ...others.map((key): [string, KeyObject] => [idOf(key), createSecretKey(key)]),
    ]);
  }

  /**
   * Reads keys of 32 bytes in base64 or hex, with commas between. The first one must look random. The others may be
   * weak, since they only decrypt: otherwise an operator could not replace a weak key.
   * @throws Error that says what is wrong with which of them, without repeating any
   */
  static parse(text: string): KeyRing {
    const keys = text.split(',').map((entry, index, { length }) => {
      const which = length === 1 ? '' : ` (key ${index + 1} of ${length})`;
      return readKey(entry.trim(), which);
    });
    if (new Set(keys.map(idOf)).size < keys.length) throw new Error('must not hold the same key twice');
    requireRandom(keys[0] as Buffer);
    return new KeyRing(keys as [Buffer, ...Buffer[]]);
  }

  /** A new key, as {@link parse} reads it. */
  static generateKey(): string {
    return randomBytes(KEY_BYTES).toString('base64');
  }

  get ids(): string[] {
    return [...this.#keys.keys()];
  }

  encrypt(plain: string, owner: SecretOwner): SealedSecret {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#first, nonce).setAAD(associatedData(owner));
    const parts = [nonce, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()];
    return `enc:v1:${this.firstId}:${Buffer.concat(parts).toString('base64')}` as SealedSecret;
  }

  /**
   * The plain text of a stored secret.
   * @throws UndecryptableSecret if it is under a key that is not here, was changed, belongs to another row, or is
   *   encrypted in a way that this version does not know
   */
  decrypt(stored: SealedSecret, owner: SecretOwner): string {
    const [head, keyId] = SEALED.exec(stored) ?? [];
    if (head === undefined || keyId === undefined) {
      if (!looksSealed(stored)) return stored;
      throw new UndecryptableSecret('it is encrypted in a way that this version of Posthorn does not know');
    }
    const key = this.#keys.get(keyId);
    if (!key) {
      throw new UndecryptableSecret(
        `it is under the encryption key ${keyId}, which ENCRYPTION_KEY does not hold`,
      );
    }
    const bytes = Buffer.from(stored.slice(head.length), 'base64');
    try {
      const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      })
        .setAAD(associatedData(owner))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      const plain = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      return Buffer.concat([plain, decipher.final()]).toString('utf8');
    } catch {
      throw new UndecryptableSecret('it was changed, or belongs to another row');
    }
  }

  /** Shown by JSON.stringify, console.log and their like. */
  toJSON(): { keyIds: string[] } {
    return { keyIds: this.ids };
  }
}

/** For LIKE: a stored secret under the key of this id, or under any key. (A regular expression takes 10 µs a row.) */
export function sealedPattern(keyId = '________'): string {
  return `enc:v1:${keyId}:%`;
}

export function isSealed(stored: string, keyId?: string): boolean {
  const found = SEALED.exec(stored)?.[1];
  return found !== undefined && (keyId === undefined || found === keyId);
}

/** Whether a text would be taken for an encrypted secret, if not one of this version: no plain one may look like it. */
export function looksSealed(text: string): boolean {
  return text.startsWith(MARK);
}

function readKey(text: string, which: string): Buffer {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  if (/^[A-Za-z0-9+/]{43}=?$/.test(text)) return Buffer.from(text, 'base64');
  throw new Error(`must be 32 random bytes in base64 or hex${which}: openssl rand -base64 32 makes them`);
}

function requireRandom(first: Buffer): void {
  const weakness = weaknessOfBytes(first);
  if (weakness === null) return;
  throw new Error(
    `must not encrypt with a first key whose bytes ${weakness}: anybody could guess it. Put a new one (openssl rand -base64 32) and a comma in front of it, run "npm run reencrypt", then take the old one away`,
  );
}

function idOf(key: Buffer): string {
  return hash('sha256', key).slice(0, 8);
}

/** Ids are unique without regard to their case, and PostgreSQL gives them in small letters. */
function associatedData({ table, tenantId, id }: SecretOwner): Buffer {
  return Buffer.from(`posthorn:${table}:${tenantId}:${id}`.toLowerCase());
}
