/** Of Standard Webhooks: what follows it is the key in base64. */
export const WHSEC = 'whsec_';

/**
 * The least number of bytes that may key a signature, or be sent as a token: 128 bits, as RFC 2104 section 3 and NIST
 * SP 800-107 section 5.3.2 ask of the security strength of an HMAC key. A shorter one can be guessed offline by anybody
 * who has one signed request, and one of no bytes is known to everybody.
 */
export const MIN_KEY_BYTES = 16;

/** Of a secret that is used as the text that it is. */
export const PLAIN_SECRET_RULE = `${MIN_KEY_BYTES} to 256 printable ASCII characters`;
const PLAIN_SECRET = /^[\x20-\x7e]{16,256}$/;

/** Whether a secret may be used as the text that it is. */
export const isPlainSecret = (secret: string): boolean => PLAIN_SECRET.test(secret);

/** The key of a secret: what follows `whsec_`, decoded from base64; of any other secret its own bytes. */
export function keyOfSecret(secret: string): Buffer {
  return secret.startsWith(WHSEC)
    ? Buffer.from(secret.slice(WHSEC.length), 'base64')
    : Buffer.from(secret, 'utf8');
}

/**
 * Whether a key shows nothing, whatever was stored before such keys were refused: it is too short, or all zeros: HMAC pads
 * its key with zeros (RFC 2104 section 2), so such a key is the same as one of no bytes.
 */
export const isWeakKey = (key: Buffer): boolean =>
  key.length < MIN_KEY_BYTES || key.every((byte) => byte === 0);
