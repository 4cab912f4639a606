import { createHash } from 'node:crypto';
import type { Form } from './form.js';
import { headerOf, type ReceivedRequest, type RequestHead } from './received-request.js';

/** What a signature may be over. */
export interface Signable {
  request: ReceivedRequest;
  /** As it was sent. */
  timestamp: string;
  /** The address that the provider was given, if it is known. */
  url: string | null;
  /** Reads the body as a form; null where it has too many parameters. */
  formOf: (body: Buffer) => Form | null;
}

/** More than Twilio's. It is taken apart before it is verified, which takes up to 10 ms a MiB. */
export const MAX_FORM_BYTES = 256 * 1_024;

/** A placeholder, or the name of a header. */
const VALUES: Readonly<Record<string, (signable: Signable) => string | Buffer | null>> = {
  body: ({ request }) => request.body,
  timestamp: ({ timestamp }) => timestamp,
  url: ({ request, url }) => url && withBodyHash(url, request),
  'url:port': ({ request, url }) => url && withBodyHash(otherPort(url), request),
  form: ({ request, formOf }) =>
    signsBodyHash(request) ? hashedBody(request) : sortedParameters(request.body, formOf),
};

/**
 * What a template such as `{timestamp}.{body}` stands for, piece by piece, so that the body is not copied. `{body}` and
 * `{timestamp}` are themselves, `{url}` is the address that the provider was given, `{url:port}` the same with the
 * standard port where it has none and without one where it has, `{form}` the parameters of a form as Twilio joins them,
 * and any other name a header.
 * @returns null where a piece is not there
 */
export function signedContent(template: string, signable: Signable): (string | Buffer)[] | null {
  const pieces = template.split(/[{}]/).map((piece, index) => {
    if (index % 2 === 0) return piece;
    const value = VALUES[piece];
    return value ? value(signable) : bytesOf(headerOf(signable.request, piece));
  });
  return pieces.every((piece) => piece !== null) ? pieces : null;
}

/** A header as it came over the wire. */
function bytesOf(header: string | null): Buffer | null {
  return header === null ? null : Buffer.from(header, 'latin1');
}

/** Twilio adds the hash of a body that is no form to the address, and signs that. */
function withBodyHash(url: string, request: RequestHead): string {
  const hash = bodyHashIn(request);
  if (hash === null || bodyHashOf(url) !== null) return url;
  return `${url}${url.includes('?') ? '&' : '?'}bodySHA256=${hash}`;
}

/** Twilio signs the standard port at times, as its libraries know, which try both. */
function otherPort(url: string): string {
  const [, scheme = '', host = '', port, rest = ''] =
    /^(https?:\/\/)((?:[^/?#]*@)?(?:\[[^\]]*\]|[^/?#:]*))(:\d*)?(.*)$/is.exec(url) ?? [];
  if (port !== undefined) return scheme + host + rest;
  return `${scheme}${host}:${scheme.toLowerCase() === 'https://' ? 443 : 80}${rest}`;
}

/** Whether the address vouches for the body, which then is not read as a form. */
export const signsBodyHash = (head: RequestHead): boolean => bodyHashIn(head) !== null;

const bodyHashIn = ({ url }: RequestHead): string | null => bodyHashOf(url);

function bodyHashOf(url: string): string | null {
  return /[?&]bodySHA256=([^&#]*)/.exec(url)?.[1] ?? null;
}

/** Nothing, if the body is the one whose hash the address has: then that vouches for it. */
function hashedBody(request: ReceivedRequest): string | null {
  const hash = createHash('sha256').update(request.body).digest('hex');
  return hash === bodyHashIn(request)?.toLowerCase() ? '' : null;
}

/** Each name and its value, sorted; the same value of the same name once, as in Twilio's libraries. */
function sortedParameters(body: Buffer, formOf: Signable['formOf']): string | null {
  const parameters = body.length > MAX_FORM_BYTES ? null : formOf(body);
  return parameters && (sortedForms.get(parameters) ?? sortForm(parameters));
}

/** Twilio signs with and without a port: what is the same in both is joined once. */
const sortedForms = new WeakMap<Form, string>();

function sortForm(parameters: Form): string {
  const values = new Map<string, Set<string>>();
  for (const [name, value] of parameters) {
    const ofName = values.get(name) ?? new Set();
    values.set(name, ofName.add(value));
  }
  const sorted = [...values.keys()]
    .sort()
    .flatMap((name) => [...(values.get(name) ?? [])].sort().map((value) => name + value))
    .join('');
  sortedForms.set(parameters, sorted);
  return sorted;
}
