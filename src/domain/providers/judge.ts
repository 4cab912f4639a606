import { createHash } from 'node:crypto';
import { type BodyFields, fieldsOf } from './body-fields.js';
import { type Proof, type Refusal, verify } from './proof.js';
import type { ProviderName } from './provider-names.js';
import { type Place, type Provider, PROVIDERS } from './providers.js';
import { headerOf, type ReceivedRequest } from './received-request.js';
import type { SourceSettings } from './source-settings.js';

export type { ReceivedRequest } from './received-request.js';

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
  | { kind: 'event'; eventType: string; deliveryId: string | null; contentType: string }
  | { kind: 'challenge'; contentType: string; body: string }
  | ({ kind: 'refused' } & Refusal);

const DEFAULT_TYPE = 'webhook';
const MAX_TYPE_LENGTH = 256;
/** As of ids that are handed in: without control characters. */
const IDENTIFIER = /^[^\p{Cc}\p{Cs}]{1,256}$/u;
const CONTENT_TYPE = /^[\x20-\x7e]{1,256}$/;
const UNKNOWN_CONTENT = 'application/octet-stream';

/**
 * Whether a request comes from the provider of a source, and what it is then. Believes nothing before it is verified,
 * compares secrets and signatures in constant time, and never throws, whatever is sent.
 */
export function judge(request: ReceivedRequest, rules: SourceRules, nowMs: number): Verdict {
  const { settings, secrets } = rules;
  const provider = PROVIDERS[rules.provider](settings);
  const verified = verify(request, provider.proofs, { secrets, url: addressOf(request, rules), nowMs });
  if ('refusal' in verified) return { kind: 'refused', ...verified.refusal };
  const fields = fieldsOf(request);
  return (
    challengeOf(provider, fields) ?? {
      kind: 'event',
      eventType: eventTypeOf(provider, request, fields),
      deliveryId: deliveryIdOf(provider, verified.proof, request, fields),
      contentType: contentTypeOf(request),
    }
  );
}

/** The address that the provider was told to send to. */
function addressOf({ url }: ReceivedRequest, { settings, publicUrl }: SourceRules): string | null {
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
