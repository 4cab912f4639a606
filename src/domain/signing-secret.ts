import { randomBytes } from 'node:crypto';
import { looksSealed } from './encryption.js';
import { isPlainSecret, isWeakKey, keyOfSecret, PLAIN_SECRET_RULE, WHSEC } from './secret-key.js';

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Key length that the Standard Webhooks specification asks for, in bytes. */
const MIN_WHSEC_BYTES = 24;
const MAX_WHSEC_BYTES = 64;

/**
 * How the bytes of the key follow from a secret, under which `webhook-signature` is made:
 * - `base64`: what follows `whsec_`, decoded, as the Standard Webhooks specification says;
 * - `raw`: the characters of the secret themselves.
 */
export const SECRET_FORMATS = ['base64', 'raw'] as const;
export type SecretFormat = (typeof SECRET_FORMATS)[number];

/** A new secret in the form of the specification: `whsec_` and 32 random bytes in base64. @param bytes those */
export function generateSecret(bytes: Buffer = randomBytes(32)): string {
  return WHSEC + bytes.toString('base64');
}

export function secretFormat(secret: string): SecretFormat {
  return secret.startsWith(WHSEC) ? 'base64' : 'raw';
}

export const isSecret = (secret: unknown): secret is string => secretProblem(secret) === null;

/**
 * Why a text cannot be a secret, in words that follow the name of its field and quote nothing of it; null if it can
 * be: `whsec_` followed by 24 to 64 bytes in padded base64, or other printable ASCII characters. What can only be a
 * mistake is refused, since the two ends would not agree on the key.
 */
export function secretProblem(secret: unknown): string | null {
  if (typeof secret !== 'string') return 'must be a string';
  return MISTAKES.find(({ isMade }) => isMade(secret))?.problem ?? null;
}

/** What is probably a misunderstanding in a secret that can be used; null if nothing. Quotes nothing of it. */
export function secretWarning(secret: string): string | null {
  if (secretFormat(secret) === 'base64') return null;
  const encoding = ENCODINGS.find(({ isLikely }) => isLikely(secret));
  if (encoding === undefined) return null;
  return (
    `looks like a key in ${encoding.name}, and is not decoded, since it does not begin with whsec_: the key is its ` +
    `${secret.length} characters as they stand. If the receiver decodes it, give whsec_ and the key in base64 ` +
    'instead. The libraries of Standard Webhooks take the secret as it is as whsec_ and the base64 of its characters.'
  );
}

/** In the order in which they are looked for: the first that was made is told. */
const MISTAKES: readonly { isMade: (secret: string) => boolean; problem: string }[] = [
  {
    isMade: (secret) => /^\s|\s$/.test(secret),
    problem: 'must not begin or end with white space, which is often copied along',
  },
  {
    isMade: (secret) => /[^\x20-\x7e]/.test(secret),
    problem: 'must be printable ASCII characters: others have more than one encoding into bytes',
  },
  {
    isMade: (secret) => /^whsk_|^whpk_/i.test(secret),
    problem:
      'must be a symmetric secret: whsk_ and whpk_ are the private and public key of an asymmetric signature (v1a), ' +
      'which Posthorn does not make. Leave it out, and one is made',
  },
  {
    isMade: (secret) => !secret.startsWith(WHSEC) && secret.toLowerCase().includes(WHSEC),
    problem:
      'must have whsec_, in lower case, at its beginning or not at all: leave out what stands before it, such as ' +
      'v1, or a quotation mark',
  },
  { isMade: looksSealed, problem: 'must not begin with enc:, by which encrypted secrets are known' },
  {
    isMade: (secret) => secretFormat(secret) === 'base64' && !BASE64.test(secret.slice(WHSEC.length)),
    problem: 'must have base64 after whsec_: A-Z a-z 0-9 + / (not - and _), padded with = to a multiple of 4',
  },
  {
    isMade: (secret) => secretFormat(secret) === 'base64' && !isKeyOfWhsec(keyOfSecret(secret)),
    problem: `must have ${MIN_WHSEC_BYTES} to ${MAX_WHSEC_BYTES} bytes in base64 after whsec_, not all of them zero`,
  },
  {
    isMade: (secret) => secretFormat(secret) === 'raw' && !isPlainSecret(secret),
    problem: `must be whsec_ followed by ${MIN_WHSEC_BYTES} to ${MAX_WHSEC_BYTES} bytes in base64, or ${PLAIN_SECRET_RULE} of your own`,
  },
];

const ENCODINGS: readonly { name: string; isLikely: (secret: string) => boolean }[] = [
  { name: 'hexadecimal', isLikely: (secret) => /^(?:[\da-f]{2}){16,}$/i.test(secret) },
  {
    name: 'base64',
    // Random bytes of that length have all three almost surely, and words joined by hyphens do not.
    isLikely: (secret) =>
      /^[\w+/-]{22,}={0,2}$/.test(secret) && [/[a-z]/, /[A-Z]/, /\d/].every((kind) => kind.test(secret)),
  },
];

function isKeyOfWhsec(key: Buffer): boolean {
  return key.length >= MIN_WHSEC_BYTES && key.length <= MAX_WHSEC_BYTES && !isWeakKey(key);
}
