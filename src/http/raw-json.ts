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
