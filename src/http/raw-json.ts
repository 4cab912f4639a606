import { isJsonType } from '../domain/content-type.js';
import type { StoredPayload } from '../persistence/repositories/event.repository.js';
import { parseJson } from './json-body.js';

/** The content type of an answer that is handed to Fastify as finished JSON text. */
export const JSON_CONTENT_TYPE = 'application/json; charset=utf-8';

/**
 * An object as JSON text with one more member, last, whose value is JSON text already and goes in byte for byte:
 * writing it anew would lose integers beyond 2^53, `1.0` and escapes.
 *
 * @param object not empty, and without the member `name`
 */
export function withRawMember(object: object, name: string, json: Buffer): Buffer {
  const head = JSON.stringify(object).slice(0, -1);
  return Buffer.concat([Buffer.from(`${head},${JSON.stringify(name)}:`), json, Buffer.from('}')]);
}

/**
 * An object as JSON text with a payload as its last member: as `payload` where that is JSON, else as `payload_base64`.
 * @param object as in {@link withRawMember}
 */
export function withPayload(object: object, payload: StoredPayload): Buffer {
  if (isJson(payload)) return withRawMember(object, 'payload', payload.bytes);
  return withRawMember(
    object,
    'payload_base64',
    Buffer.from(JSON.stringify(payload.bytes.toString('base64'))),
  );
}

/** What a source received may call itself JSON without being any. */
function isJson({ bytes, contentType, sourceId }: StoredPayload): boolean {
  if (sourceId === null) return true;
  if (contentType !== null && !isJsonType(contentType)) return false;
  try {
    parseJson(bytes);
    return true;
  } catch {
    return false;
  }
}
