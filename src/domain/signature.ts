import { createHmac } from 'node:crypto';
import { boundedCache } from './bounded-cache.js';
import { keyOfSecret } from './secret-key.js';

/** That are valid at once: each adds a signature to every delivery, and a try to every verification. */
export const MAX_SECRETS = 5;
const MAX_CACHED_KEYS = 10_000;
const MAX_KEY_AGE_MS = 5 * 60_000;

export type SignatureHeader =
  'webhook-id' | 'webhook-timestamp' | 'webhook-signature' | 'x-webhook-signature';

/** What is signed, and with which secrets: more than one while a secret is being rotated, the newest first. */
export interface ToSign {
  secrets: readonly string[];
  webhookId: string;
  timestampSeconds: number;
  body: Buffer;
}

const decodedKeys = boundedCache<Buffer>(MAX_CACHED_KEYS, { maxAgeMs: MAX_KEY_AGE_MS });

/**
 * The headers by which a subscriber knows that a delivery is ours and unchanged.
 *
 * `webhook-signature` is that of the Standard Webhooks specification, one `v1,<base64>` a secret, separated by
 * spaces: HMAC-SHA256 of `id.timestamp.body`, keyed by what follows `whsec_` decoded from base64, else by the
 * secret's own bytes. `x-webhook-signature` is for receivers that know no base64: `sha256=<hex>`, the HMAC-SHA256 of
 * the body alone, keyed by the first secret as it is shown to the user, prefix included.
 *
 * @throws RangeError if there is no secret
 */
export function signatureHeaders({
  secrets,
  webhookId,
  timestampSeconds,
  body,
}: ToSign): Record<SignatureHeader, string> {
  const [newest] = secrets;
  if (newest === undefined) throw new RangeError('signing needs at least one secret');
  const timestamp = String(timestampSeconds);
  const signedPrefix = `${webhookId}.${timestamp}.`;
  return {
    'webhook-id': webhookId,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => standardSignature(secret, signedPrefix, body)).join(' '),
    'x-webhook-signature': `sha256=${createHmac('sha256', newest).update(body).digest('hex')}`,
  };
}

function standardSignature(secret: string, signedPrefix: string, body: Buffer): string {
  // Two updates, so the body is not copied behind its prefix.
  return `v1,${createHmac('sha256', keyOf(secret)).update(signedPrefix).update(body).digest('base64')}`;
}

function keyOf(secret: string): Buffer {
  let key = decodedKeys.get(secret);
  if (key === undefined) {
    key = keyOfSecret(secret);
    decodedKeys.set(secret, key);
  }
  return key;
}
