import { randomBytes } from 'node:crypto';
import { isPlainSecret, PLAIN_SECRET_RULE } from '../secret-key.js';
import { generateSecret, isSecret } from '../signing-secret.js';
import type { ProviderName } from './provider-names.js';

/** What a secret of a provider looks like, and who chooses it. */
interface SecretRule {
  isValid: (secret: string) => boolean;
  /** What is asked for. */
  form: string;
  /** Null: the provider chooses it, and `foundAt` says where it shows it. */
  generate: ((bytes?: Buffer) => string) | null;
  foundAt?: string;
}

const PLAIN = { isValid: isPlainSecret, form: PLAIN_SECRET_RULE };
const OURS = { ...PLAIN, generate: generatePlainSecret };
/** It travels as it is in a header, whose ends are trimmed (RFC 9110 section 5.5). */
const isToken = (secret: string): boolean => isPlainSecret(secret) && !secret.includes(' ');
const TOKEN = {
  isValid: isToken,
  form: `${PLAIN_SECRET_RULE}, without spaces`,
  generate: generatePlainSecret,
};
const STANDARD = {
  isValid: isSecret,
  form: `whsec_ followed by 24 to 64 bytes in base64, or ${PLAIN_SECRET_RULE}`,
};
const theirs = (foundAt: string): SecretRule => ({ ...PLAIN, generate: null, foundAt });

const RULES: Readonly<Record<ProviderName, SecretRule>> = {
  github: OURS,
  gitlab: {
    // Either its secret token, or its signing token, which is one of Standard Webhooks.
    isValid: (secret) => isToken(secret) && isSecret(secret),
    form: `${STANDARD.form}, without spaces`,
    generate: generatePlainSecret,
  },
  stripe: theirs('the signing secret (whsec_…) of the endpoint in the Stripe Dashboard, under Webhooks'),
  shopify: theirs("the client secret of the app, or the one below the store's list of webhooks in its admin"),
  slack: theirs('the Signing Secret of the app, under Basic Information'),
  twilio: theirs('the Auth Token of the account in the Twilio Console'),
  'standard-webhooks': { ...STANDARD, generate: generateSecret },
  svix: {
    ...STANDARD,
    generate: null,
    foundAt: "the Signing Secret (whsec_…) on the endpoint's page of the sender's portal",
  },
  hmac: OURS,
  bearer: TOKEN,
  basic: OURS,
  // It may be used with a library of Standard Webhooks as well.
  posthorn: { ...STANDARD, generate: generatePlainSecret },
};

/** A new secret for a source, of these 32 random bytes; null where the provider chooses it. */
export function generateSourceSecret(provider: ProviderName, bytes?: Buffer): string | null {
  return RULES[provider].generate?.(bytes) ?? null;
}

/** What is wrong with the secret of a source, and what would be right; null if nothing. */
export function sourceSecretError(provider: ProviderName, secret: string | undefined): string | null {
  const { isValid, form, generate, foundAt } = RULES[provider];
  if (secret === undefined) {
    return generate
      ? null
      : `must be given: ${provider} chooses it. Take ${foundAt ?? 'it from there'}; where that needs the URL first, put a random one in its place, and the real one with rotate-secret and "overlap_seconds": 0`;
  }
  return isValid(secret) ? null : `must be ${form}`;
}

/** `phs_` and 32 random bytes in base64url: no character of it means anything in a header, a form or a shell. */
function generatePlainSecret(bytes: Buffer = randomBytes(32)): string {
  return `phs_${bytes.toString('base64url')}`;
}
