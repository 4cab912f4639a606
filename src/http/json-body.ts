import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isUtf8 } from 'node:buffer';
import { Problem } from '../domain/errors.js';
import { exceedsDepth } from '../domain/json-spans.js';
import type { BodyRoom } from './body-room.js';

/** Deeper than any real document, shallow enough for every recursive reader behind us. */
export const MAX_JSON_DEPTH = 100;

declare module 'fastify' {
  interface FastifyRequest {
    /** The body as it came; `body` is the same, parsed. */
    rawBody?: Buffer;
  }
}

/**
 * Parses JSON bodies and keeps their bytes beside, so that a payload can be stored exactly as it was sent.
 * Anything but UTF-8 JSON of bounded depth is refused here, before any route sees it.
 */
export function acceptJson(server: FastifyInstance, room: BodyRoom): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser(
    ['application/json', 'application/*+json'],
    (request: FastifyRequest, _, done) => {
      const encoding = request.headers['content-encoding'];
      if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
        done(new Problem('unsupported_media_type', 'Send the body without a Content-Encoding.'));
        return;
      }
      const read = (body: Buffer): void => {
        request.rawBody = body;
        try {
          done(null, parseJson(body));
        } catch (error) {
          done(error as Error);
        }
      };
      room.read(request, { done: read, refuse: done });
    },
  );
}

/** @throws Problem malformed_json */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new Problem('malformed_json', 'The body is empty; send a JSON document.');
  if (!isUtf8(body)) throw new Problem('malformed_json', 'The body is not valid UTF-8.');
  if (exceedsDepth(body, MAX_JSON_DEPTH)) {
    throw new Problem('malformed_json', `The body is nested deeper than ${MAX_JSON_DEPTH} levels.`);
  }
  try {
    return JSON.parse(body.toString('utf8'), undefined);
  } catch (error) {
    throw new Problem('malformed_json', `The body is not valid JSON: ${complaint(error as Error)}.`);
  }
}

/** What JSON.parse has to say, without the piece of the body that it quotes: it may be a secret. */
function complaint({ message }: Error): string {
  return message.replace(/, (\.\.\.)?".*$/s, '');
}

/**
 * The JSON body of a request, as it came and parsed, for routes that need its bytes.
 * @throws Problem unsupported_media_type when the request carried none
 */
export function jsonOf({ rawBody, body }: FastifyRequest): { raw: Buffer; value: unknown } {
  if (rawBody === undefined) {
    throw new Problem('unsupported_media_type', 'Send a JSON document with Content-Type: application/json.');
  }
  return { raw: rawBody, value: body };
}
