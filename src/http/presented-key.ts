import type { IncomingMessage } from 'node:http';
import { Problem } from '../domain/errors.js';

const HOW_TO_SEND = 'Send "Authorization: Bearer KEY" or "X-API-Key: KEY".';
const BEARER = /^Bearer +(\S+)$/i;
/** Longer than any key; so that hashing a wrong one costs a microsecond. */
const MAX_LENGTH = 256;

/**
 * The key that a request presents, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
 * @throws Problem unauthorized that says what is wrong with the headers, without repeating a key
 */
export function presentedKey(request: Pick<IncomingMessage, 'rawHeaders'>): string {
  const { authorizations, apiKeys } = credentials(request);
  // Nearly every request has one of the two, once, and well-formed.
  if (authorizations.length + apiKeys.length === 1) {
    const [only = BEARER.exec(authorizations[0] ?? '')?.[1]] = apiKeys;
    if (only !== undefined && flawOfKey(only) === null) return only;
  }
  const bearers = authorizations.map((value) => BEARER.exec(value)?.[1]);
  const keys = new Set([...bearers.filter((key) => key !== undefined), ...apiKeys]);
  const areDifferent = keys.size > 1 || new Set(authorizations).size > 1;
  // It is not clear which one counts, and a proxy in front of Posthorn may have checked the other one.
  if (areDifferent) {
    throw refusal('The Authorization and X-API-Key headers carry different credentials; send one of them.');
  }
  const [key] = keys;
  if (key === undefined) throw refusal(flawOfAuthorization(authorizations[0]));
  const flaw = flawOfKey(key);
  if (flaw !== null) throw refusal(flaw);
  return key;
}

/** For a key that is well-formed and not known. What looks like a mistake may still be an operator key. */
export function unknownKey(key: string): Problem {
  if (/^["'`]|["'`]$/.test(key)) {
    return refusal('The API key has quotation marks around it: send it without them.');
  }
  if (/^[<{$]|^(?:KEY|API_KEY|undefined|null)$/i.test(key)) {
    return refusal('The API key is a placeholder: put your key in its place.');
  }
  const expected = key.startsWith('ph_') ? 46 : key.length;
  if (key.length !== expected) {
    return refusal(
      `This API key has ${key.length} characters, and those that begin with ph_ have ${expected}: it was not copied as a whole.`,
    );
  }
  return refusal(
    'This API key is not known here. It may be mistyped, revoked, or the key of another installation.',
  );
}

/** Node keeps only the first Authorization of several, and joins several X-API-Key. */
function credentials({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>): {
  authorizations: string[];
  apiKeys: string[];
} {
  const authorizations: string[] = [];
  const apiKeys: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 13 && name.toLowerCase() === 'authorization') {
      authorizations.push((rawHeaders[at + 1] as string).trim());
    } else if (name.length === 9 && name.toLowerCase() === 'x-api-key') {
      apiKeys.push((rawHeaders[at + 1] as string).trim());
    }
  }
  return { authorizations, apiKeys };
}

/** @param authorization from which no key could be read, where there is no X-API-Key */
function flawOfAuthorization(authorization: string | undefined): string {
  if (authorization === undefined) return `This request has no API key. ${HOW_TO_SEND}`;
  if (authorization === '') return `The Authorization header is empty. ${HOW_TO_SEND}`;
  const [scheme = '', ...rest] = authorization.split(/\s+/);
  if (/^Bearer$/i.test(scheme)) {
    if (rest.length === 0) {
      return 'There is no key behind "Bearer" in the Authorization header: the variable that should hold it may be empty.';
    }
    if (/^Bearer$/i.test(rest[0] as string))
      return `The Authorization header says "Bearer" twice. ${HOW_TO_SEND}`;
    return 'The key behind "Bearer" has a space or line break in it: send it in one piece.';
  }
  if (rest.length === 0) {
    return 'The Authorization header has a key without a scheme: write "Bearer" and a space in front of it.';
  }
  const named = /^[a-z0-9-]{1,20}$/i.test(scheme) ? `"${scheme}"` : 'another one';
  return `The scheme of the Authorization header must be "Bearer", not ${named}. ${HOW_TO_SEND}`;
}

function flawOfKey(key: string): string | null {
  if (key === '') return `The X-API-Key header is empty: the variable that should hold the key may be empty.`;
  if (/\s/.test(key)) return 'The API key has a space in it: send one key, in one piece.';
  if (/^Bearer$/i.test(key)) return `There is no key behind "Bearer". ${HOW_TO_SEND}`;
  if (!/^[!-~]+$/.test(key)) return 'The API key has characters that no key has: copy it again.';
  if (key.length > MAX_LENGTH) return `The API key is longer than ${MAX_LENGTH} characters, which no key is.`;
  return null;
}

const refusal = (detail: string): Problem => new Problem('unauthorized', detail);
