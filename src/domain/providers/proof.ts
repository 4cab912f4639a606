import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { isWeakKey, keyOfSecret } from '../secret-key.js';
import { headerOf, type ReceivedRequest, type RequestHead } from './received-request.js';
import { type Signable, signedContent } from './signed-content.js';

/** One way in which a request shows that its sender knows the secret. */
export interface Proof {
  /** The header that it is in. */
  header: string;
  /** Between several items of that header, of which one has to hold. */
  separator?: ',' | ' ';
  /** What it begins with, in either case; of several items, those that begin otherwise are of no concern. */
  prefix: string;
  shows: Signature | SharedToken;
  time?: SignedTime;
  /** The header that says which delivery it is, where that is signed as well. */
  deliveryId?: string;
}

export interface Signature {
  kind: 'hmac';
  algorithm: 'sha256' | 'sha1' | 'sha512';
  encoding: 'hex' | 'base64';
  /** `whsec`: the key is what follows `whsec_`, in base64; any other secret is the key itself, as always with `text`. */
  key: 'text' | 'whsec';
  /** What is signed, a template of signedContent. */
  content: string;
}

/** What is sent is the secret itself; anybody who sees one request can make others. */
export interface SharedToken {
  kind: 'token';
  tokenOf: (secret: string) => string;
}

export interface SignedTime {
  /** A header of its own, or an item of the proof's header. */
  in: { header: string } | { item: string };
  toleranceSeconds: number;
}

export type RefusalReason =
  'signature_missing' | 'signature_invalid' | 'timestamp_out_of_tolerance' | 'malformed';

export interface Refusal {
  reason: RefusalReason;
  message: string;
}

/** What a proof is held against. */
export interface Expectation {
  /** Any of them will do. */
  secrets: readonly string[];
  /** The address that the provider was given, if it is known. */
  url: string | null;
  nowMs: number;
}

/** From here on a timestamp is in milliseconds: in seconds it would be the year 5138. */
const FIRST_MILLISECONDS = 1e11;
/** Of a header that holds signatures or a token, in characters: a user name and a secret of the greatest length fit. */
const MAX_HEADER_LENGTH = 2_048;
/** In one header: a sender signs with each of its secrets while it rotates them, and Posthorn itself with five at most. */
const MAX_SIGNATURES = 8;
const DIGEST_BYTES = { sha1: 20, sha256: 32, sha512: 64 } as const;

/** What a head claims for a proof: all that can be said without the body is right. */
interface Claim {
  proof: Proof;
  /** Signatures of the right form; of a token, which is proven by now, nothing. */
  signatures: string[];
  timestamp: string;
}

/**
 * What is wrong with a request as far as its head tells: a header that is missing or of another form, a time out of
 * tolerance, a token that is not the secret. Costs microseconds, so it comes before the body is read.
 * @returns null where only the body can tell
 */
export function refusalOfHead(
  head: RequestHead,
  proofs: readonly Proof[],
  expected: Expectation,
): Refusal | null {
  const { claims, refusal } = claimsOf(head, proofs, expected);
  return claims.length > 0 ? null : refusal;
}

/** The first of these proofs that holds; if none does, what is wrong with the first that the request has. */
export function verify(
  request: ReceivedRequest,
  proofs: readonly Proof[],
  expected: Expectation & Pick<Signable, 'formOf'>,
): { claim: Claim } | { refusal: Refusal } {
  const { claims, refusal } = claimsOf(request, proofs, expected);
  const claim = claims.find((each) => holds(each, request, expected));
  return claim ? { claim } : { refusal };
}

/** @returns the refusal to give where no claim holds */
function claimsOf(
  head: RequestHead,
  proofs: readonly Proof[],
  expected: Expectation,
): { claims: Claim[]; refusal: Refusal } {
  const claims: Claim[] = [];
  let refusal: Refusal | undefined;
  for (const proof of proofs) {
    const given = headerOf(head, proof.header);
    if (given === null) continue;
    const claim = claimOf(head, proof, given, expected);
    if ('reason' in claim) refusal ??= claim;
    else {
      claims.push(claim);
      refusal ??= invalid(proof);
    }
  }
  return {
    claims,
    refusal: refusal ?? missing([...new Set(proofs.map(({ header }) => header))].join(' or ')),
  };
}

function claimOf(head: RequestHead, proof: Proof, given: string, expected: Expectation): Claim | Refusal {
  const { header, separator, prefix, time, shows } = proof;
  if (given.length > MAX_HEADER_LENGTH) {
    return malformed(`${header} has more than ${MAX_HEADER_LENGTH} characters`);
  }
  const items = separator === undefined ? [given] : given.split(separator);
  let timestamp = '';
  if (time) {
    const found = 'header' in time.in ? headerOf(head, time.in.header) : firstBehind(time.in.item, items);
    if (found === null) return missing('header' in time.in ? time.in.header : `${time.in.item} in ${header}`);
    const refusal = refusalOfTime(found, time.toleranceSeconds, expected.nowMs);
    if (refusal) return refusal;
    timestamp = found;
  }
  const proven = items.map((item) => behind(prefix, item.trim())).filter((item) => item !== null);
  if (proven.length === 0) return malformed(`${header} has nothing that begins with "${prefix}"`);
  if (proven.length > MAX_SIGNATURES)
    return malformed(`${header} has more than ${MAX_SIGNATURES} signatures`);
  if (shows.kind === 'token') {
    return holdsToken(shows, proven, expected.secrets)
      ? { proof, signatures: [], timestamp }
      : invalid(proof);
  }
  const signatures = proven.filter((text) => hasFormOf(shows, text));
  return signatures.length > 0 ? { proof, signatures, timestamp } : invalid(proof);
}

/** Whether a text is as long as a signature, and of its digits. */
function hasFormOf({ algorithm, encoding }: Signature, text: string): boolean {
  const bytes = DIGEST_BYTES[algorithm];
  return encoding === 'hex'
    ? text.length === bytes * 2 && /^[0-9a-f]*$/i.test(text)
    : text.length === Math.ceil(bytes / 3) * 4 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function holds(
  { proof: { shows }, signatures, timestamp }: Claim,
  request: ReceivedRequest,
  { secrets, url, formOf }: Expectation & Pick<Signable, 'formOf'>,
): boolean {
  if (shows.kind === 'token') return true;
  const { algorithm, encoding, key, content } = shows;
  const signed = signedContent(content, { request, timestamp, url, formOf });
  if (signed === null) return false;
  // Some libraries write hexadecimal digits in upper case; they are the same bytes.
  const given = signatures.map((text) =>
    Buffer.from(encoding === 'hex' ? text.toLowerCase() : text, 'latin1'),
  );
  return secrets.some((secret) => {
    const bytes = key === 'whsec' ? keyOfSecret(secret) : Buffer.from(secret, 'utf8');
    if (isWeakKey(bytes)) return false;
    const hmac = createHmac(algorithm, bytes);
    for (const piece of signed) hmac.update(piece);
    const right = Buffer.from(hmac.digest(encoding), 'latin1');
    return given.some((one) => timingSafeEqual(one, right));
  });
}

/** Compares hashes: how long the token is must not show. */
function holdsToken({ tokenOf }: SharedToken, given: string[], secrets: readonly string[]): boolean {
  const hashes = given.map((token) => sha256(Buffer.from(token, 'latin1')));
  return secrets.some((secret) => {
    if (isWeakKey(Buffer.from(secret, 'utf8'))) return false;
    const right = sha256(Buffer.from(tokenOf(secret), 'utf8'));
    return hashes.some((one) => timingSafeEqual(one, right));
  });
}

/** Too old, and it may be a copy that was kept; from the future, and a copy would be accepted for longer. */
function refusalOfTime(timestamp: string, toleranceSeconds: number, nowMs: number): Refusal | null {
  if (!/^\d{1,15}$/.test(timestamp))
    return malformed('the timestamp is no whole number of seconds since 1970');
  const time = Number(timestamp);
  const seconds = time < FIRST_MILLISECONDS ? time : Math.floor(time / 1_000);
  const age = Math.floor(nowMs / 1_000) - seconds;
  if (Math.abs(age) <= toleranceSeconds) return null;
  const message =
    `The timestamp is ${Math.abs(age)} seconds ${age > 0 ? 'old' : 'ahead'}, and ${toleranceSeconds} are tolerated: ` +
    'send it anew, with a clock that is right.';
  return { reason: 'timestamp_out_of_tolerance', message };
}

const firstBehind = (prefix: string, items: string[]): string | null =>
  items.map((item) => behind(prefix, item.trim())).find((item) => item !== null) ?? null;

function behind(prefix: string, item: string): string | null {
  const isThere = item.slice(0, prefix.length).toLowerCase() === prefix.toLowerCase();
  return isThere ? item.slice(prefix.length).trim() : null;
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

const missing = (what: string): Refusal => ({
  reason: 'signature_missing',
  message: `The request has no ${what}: send it as the provider of this source does, with a secret set there.`,
});

const malformed = (what: string): Refusal => ({
  reason: 'malformed',
  message: `The signature cannot be read: ${what}.`,
});

const invalid = ({ header, shows }: Proof): Refusal => ({
  reason: 'signature_invalid',
  message:
    shows.kind === 'token'
      ? `What ${header} holds is not the secret of this source.`
      : `The signature in ${header} is not that of this request with the secret of this source.`,
});
