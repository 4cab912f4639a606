import { createHash } from 'node:crypto';
import { type BodyFields, fieldsOf } from './body-fields.js';
import { type Form, parseForm } from './form.js';
import { type Expectation, type Proof, type Refusal, refusalOfHead, verify } from './proof.js';
import type { ProviderName } from './provider-names.js';
import { type Place, type Provider, PROVIDERS } from './providers.js';
import { headerOf, type ReceivedRequest, type RequestHead } from './received-request.js';
import { MAX_SECRETS } from '../signature.js';
import type { SourceSettings } from './source-settings.js';

export type { ReceivedRequest, RequestHead } from './received-request.js';

/** By what a source knows its provider. */
export interface SourceRules {
  provider: ProviderName;
  settings: SourceSettings;
  /** The present one first, then the previous one while it still holds. */
  secrets: readonly string[];
  /** PUBLIC_URL: what the world's addresses of this service begin with, if it was told. */
  publicUrl: string | null;
}

/** What a request is. The types and ids are fit to be stored, and to be sent in a header. */
export type Verdict =
  | {
      kind: 'event';
      eventType: string;
      deliveryId: string | null;
      repeatKey: string | null;
      contentType: string;
    }
  | { kind: 'challenge'; contentType: string; body: string }
  | ({ kind: 'refused' } & Refusal);

const DEFAULT_TYPE = 'webhook';
const MAX_TYPE_LENGTH = 256;
/** As of ids that are handed in: without control and format characters, which a reader would not see. */
const IDENTIFIER = /^[^\p{Cc}\p{Cs}\p{Cf}\u2028\u2029]{1,256}$/u;
const CONTENT_TYPE = /^[\x20-\x7e]{1,256}$/;
const UNKNOWN_CONTENT = 'application/octet-stream';

/** How long a body is the same event where neither a time is signed nor an id is there, in seconds. */
const REPEAT_SECONDS = 300;

/**
 * What the head of a request says against it before its body is read: a Refusal, or null where only the body can tell.
 * Never throws, and takes microseconds whatever is sent.
 */
export function judgeHead(head: RequestHead, rules: SourceRules, nowMs: number): Refusal | null {
  const { proofs, refuseHead } = PROVIDERS[rules.provider](rules.settings);
  return refusalOfHead(head, proofs, expectationOf(head, rules, nowMs)) ?? refuseHead?.(head) ?? null;
}

/** The most bytes of a body that are looked at before the signature is known to be right. */
export function maxBodyBytes(
  head: RequestHead,
  { provider, settings }: Pick<SourceRules, 'provider' | 'settings'>,
): number {
  return PROVIDERS[provider](settings).maxBodyBytes?.(head) ?? Infinity;
}

/**
 * Whether a request comes from the provider of a source, and what it is then. Believes nothing before it is verified,
 * compares secrets and signatures in constant time, and never throws, whatever is sent.
 */
export function judge(request: ReceivedRequest, rules: SourceRules, nowMs: number): Verdict {
  const provider = PROVIDERS[rules.provider](rules.settings);
  const formOf = formReader();
  const verified = verify(request, provider.proofs, { ...expectationOf(request, rules, nowMs), formOf });
  if ('refusal' in verified) return { kind: 'refused', ...verified.refusal };
  const { proof, timestamp } = verified.claim;
  const fields = fieldsOf(request.body, formOf);
  const deliveryId = deliveryIdOf(provider, proof, request, fields);
  return (
    challengeOf(provider, fields) ?? {
      kind: 'event',
      eventType: eventTypeOf(provider, request, fields),
      deliveryId,
      repeatKey:
        deliveryId === null ? repeatKeyOf(proof, timestamp, request.body, rules.settings, nowMs) : null,
      contentType: contentTypeOf(request),
    }
  );
}

const expectationOf = (head: RequestHead, rules: SourceRules, nowMs: number): Expectation => ({
  secrets: rules.secrets.slice(0, MAX_SECRETS),
  url: addressOf(head, rules),
  nowMs,
});

/** A form is read once, for its signature and for what is in it. */
function formReader(): (body: Buffer) => Form | null {
  let last: { body: Buffer; form: Form | null } | undefined;
  return (body) => {
    if (last?.body !== body) last = { body, form: parseForm(body) };
    return last.form;
  };
}

/**
 * By what a copy of a signed request without an id is known: the body and the time that is signed with it, else the
 * span of time in which it came. Null where nothing is signed: there a copy vouches for no more than any request.
 */
function repeatKeyOf(
  { shows, time }: Proof,
  timestamp: string,
  body: Buffer,
  { tolerance_seconds: spanSeconds = REPEAT_SECONDS }: SourceSettings,
  nowMs: number,
): string | null {
  if (shows.kind === 'token') return null;
  const isTimed = time !== undefined && shows.content.includes('{timestamp}');
  const moment = isTimed ? `at ${timestamp}` : `in ${Math.floor(nowMs / 1_000 / spanSeconds)}`;
  return `body:${createHash('sha256').update(`${moment}\n`).update(body).digest('hex')}`;
}

/** The address that the provider was told to send to. */
function addressOf({ url }: RequestHead, { settings, publicUrl }: SourceRules): string | null {
  return settings.url ?? (publicUrl === null ? null : publicUrl.replace(/\/$/, '') + url);
}

function challengeOf({ challenge }: Provider, fields: BodyFields): Verdict | null {
  if (!challenge || fields(challenge.field) !== challenge.says) return null;
  const body = fields(challenge.answer);
  return body === null ? null : { kind: 'challenge', contentType: 'text/plain', body };
}

function eventTypeOf({ eventType }: Provider, request: ReceivedRequest, fields: BodyFields): string {
  const { prefix, from, otherwise = DEFAULT_TYPE, spell = (type) => type } = eventType;
  const given = spell((firstOf(from, request, fields) ?? '').slice(0, MAX_TYPE_LENGTH));
  // The rule of event types: what may be in one, and at its beginning.
  const type = given.replace(/[^A-Za-z0-9._:/-]/gu, '_').replace(/^[^A-Za-z0-9]+/, '') || otherwise;
  return (prefix === undefined ? type : `${prefix}.${type}`).slice(0, MAX_TYPE_LENGTH);
}

/**
 * The one that is signed, if any: with another beside it, a copy of a request would be a delivery of its own. One that
 * could not be stored is still the same each time, hashed.
 */
function deliveryIdOf(
  { deliveryId }: Provider,
  { deliveryId: signed }: Proof,
  request: ReceivedRequest,
  fields: BodyFields,
): string | null {
  const given = firstOf(signed === undefined ? deliveryId : [{ header: signed }], request, fields);
  if (given === null || IDENTIFIER.test(given)) return given;
  return `sha256:${createHash('sha256').update(Buffer.from(given, 'utf16le')).digest('hex')}`;
}

function contentTypeOf(request: ReceivedRequest): string {
  const given = headerOf(request, 'content-type');
  return given !== null && CONTENT_TYPE.test(given) ? given : UNKNOWN_CONTENT;
}

function firstOf(places: readonly Place[], request: ReceivedRequest, fields: BodyFields): string | null {
  for (const place of places) {
    const values = 'header' in place ? [headerOf(request, place.header)] : place.fields.map(fields);
    if (values.every((value) => value !== null && value !== '')) return values.join(':');
  }
  return null;
}
