import { boundedCache } from '../domain/bounded-cache.js';

export interface RequestTarget {
  /** As in the Host header. */
  host: string;
  /** Path and query. */
  path: string;
}

/** The request cannot be written as HTTP. */
export class InvalidRequest extends Error {}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** field-content of RFC 9110 section 5.5, which is bytes. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const PATH = /^\/[\x21-\x7e]*$/;
/** The connection's own affairs. */
const RESERVED =
  /^(?:host|connection|content-length|transfer-encoding|keep-alive|upgrade|expect|te|trailer)$/i;

/** Names that were found to be right: they are few, and the same for every delivery. */
const knownNames = boundedCache<true>(1_000);

/**
 * The head of a POST (RFC 9112 section 3), to be written as ISO-8859-1. No name, value or path can put a line of its
 * own into it.
 *
 * @throws InvalidRequest
 */
export function requestHead(
  { host, path }: RequestTarget,
  headers: Record<string, string>,
  bodyBytes: number,
): string {
  if (!PATH.test(path)) throw new InvalidRequest('invalid path');
  let head = `POST ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  for (const name in headers) {
    const value = headers[name] as string;
    if (knownNames.get(name) === undefined) checkName(name);
    if (!VALUE.test(value)) throw new InvalidRequest(`invalid ${name} header`);
    head += `${name}: ${value}\r\n`;
  }
  return `${head}content-length: ${bodyBytes}\r\n\r\n`;
}

function checkName(name: string): void {
  if (!TOKEN.test(name) || RESERVED.test(name)) throw new InvalidRequest(`invalid ${name} header`);
  knownNames.set(name, true);
}
