import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { markedEncoding, withoutMark } from '../domain/byte-order-mark.js';
import { foreignCharset, isJsonType } from '../domain/content-type.js';
import { type FieldError, invalidRequest, Problem } from '../domain/errors.js';
import { inexactPlaces } from '../domain/json-exactness.js';
import { exceededLimit, JsonLimits } from '../domain/json-cost.js';
import type { BodyRoom } from './body-room.js';
import { setRouteConfig } from './route-config.js';

/**
 * Deeper than any real document, shallow enough for every recursive reader behind us. The pieces keep a body of 16 MiB
 * from stopping everybody else for 1.6 s; as many bytes of events of GitHub, one of each kind and again, have 670,000.
 */
export const JSON_LIMITS: JsonLimits = { depth: 100, pieces: 750_000 };

declare module 'fastify' {
  interface FastifyContextConfig {
    takesRawBody?: boolean;
    keepsNothing?: boolean;
  }
  interface FastifyRequest {
    /** The body as it came; `body` is the same, parsed, but on a route with {@link RawBody}. Absent if there is none. */
    rawBody?: Buffer;
  }
}

/** A route that takes the bytes of any body, of whatever content type or none; they are for it to understand. */
export const RawBody = () => setRouteConfig({ takesRawBody: true });

/** A route that only compares what its body holds: numbers may be such as payloads hold, which no double can. */
export const KeepsNothing = () => setRouteConfig({ keepsNothing: true });

/**
 * Parses JSON bodies and keeps their bytes beside, so that a payload can be stored exactly as it was sent. Anything but
 * UTF-8 JSON within {@link JSON_LIMITS} is refused here, before any route sees it, except those with {@link RawBody}.
 * An empty body is no body, whatever its Content-Type: clients send their usual headers with everything.
 */
export function acceptBodies(server: FastifyInstance, room: BodyRoom): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (request: FastifyRequest, _: unknown, done: Done): void => {
    const { takesRawBody, takesPayloads, keepsNothing } = request.routeOptions.config;
    if (request.upload === null) {
      done(null);
      return;
    }
    const refusal = refusalOf(request.headers, takesRawBody);
    if (refusal !== null) {
      done(refusal);
      return;
    }
    const read = (whole: Buffer): void => {
      try {
        // The places of values are counted in what is parsed.
        const body = takesRawBody ? whole : withoutMark(whole);
        if (body.length > 0) request.rawBody = body;
        const value = takesRawBody || body.length === 0 ? undefined : parseJson(body);
        if (!takesPayloads) noteInexact(value, body, !keepsNothing);
        done(null, value);
      } catch (error) {
        done(error as Error);
      }
    };
    room.read(request, { done: read, refuse: done });
  });
}

type Done = (error: Error | null, body?: unknown) => void;

/** What is wrong with a body, as far as its headers tell. */
function refusalOf(headers: IncomingHttpHeaders, takesRawBody = false): Problem | null {
  // Nothing is decoded here: a small body may become any amount of memory.
  const { 'content-encoding': encoding = 'identity', 'content-type': type = '' } = headers;
  if (!takesRawBody && !isJsonType(type)) return notJson();
  if (encoding.toLowerCase() !== 'identity') {
    return new Problem('unsupported_media_type', 'Send the body without a Content-Encoding.');
  }
  const charset = takesRawBody ? null : foreignCharset(type);
  if (charset === null) return null;
  const message = `The charset ${charset.slice(0, 40)} is not supported: send the JSON in UTF-8.`;
  return new Problem('unsupported_media_type', message);
}

/** @throws Problem malformed_json, payload_too_large */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw emptyBody();
  if (!isUtf8(body)) throw notUtf8(body);
  const exceeded = exceededLimit(body, JSON_LIMITS);
  if (exceeded !== null) throw tooMuch(exceeded);
  try {
    return JSON.parse(body.toString('utf8'), undefined);
  } catch (error) {
    throw new Problem('malformed_json', `The body is not valid JSON: ${complaint(error as Error)}.`);
  }
}

function notUtf8(body: Buffer): Problem {
  const encoding = markedEncoding(body);
  const what = encoding === null ? 'not valid UTF-8' : `in ${encoding}, as its byte order mark says`;
  return new Problem('malformed_json', `The body is ${what}: send the JSON in UTF-8.`);
}

const inexact = new WeakMap<object, FieldError[]>();

/** For the route that reads the body, if one does: a path that leads nowhere is said before. */
function noteInexact(value: unknown, body: Buffer, exactNumbers: boolean): void {
  if (typeof value !== 'object' || value === null) return;
  const places = inexactPlaces(body, { exactNumbers });
  if (places.length > 0) inexact.set(value, places);
}

/** @throws Problem invalid_request naming what of a parsed body would come back altered, or be dropped */
export function requireExact(value: object): void {
  const places = inexact.get(value);
  if (places) throw invalidRequest(places);
}

function tooMuch(exceeded: keyof JsonLimits): Problem {
  const { depth, pieces } = JSON_LIMITS;
  if (exceeded === 'depth') {
    return new Problem('malformed_json', `The body is nested deeper than ${depth} levels.`);
  }
  return new Problem(
    'payload_too_large',
    `The body has more than ${pieces} strings, arrays and objects; eight numbers count as one, a member as six where ` +
      'there are thousands of different names. Send it in parts.',
  );
}

/** What JSON.parse has to say, without the piece of the body that it quotes: it may be a secret. */
function complaint({ message }: Error): string {
  return message.replace(/, (\.\.\.)?".*$/s, '');
}

/**
 * The JSON body of a request, as it came and parsed, for routes that need its bytes.
 * @throws Problem malformed_json when the request carried none
 */
export function jsonOf({ rawBody, body }: FastifyRequest): { raw: Buffer; value: unknown } {
  if (rawBody === undefined) throw emptyBody();
  return { raw: rawBody, value: body };
}

const notJson = (): Problem =>
  new Problem('unsupported_media_type', 'Send a JSON document with Content-Type: application/json.');

/** For a route that cannot do without a body. */
export const emptyBody = (): Problem =>
  new Problem(
    'malformed_json',
    'The body is empty; send a JSON document with Content-Type: application/json.',
  );
