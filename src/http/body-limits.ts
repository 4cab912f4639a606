import type { FastifyInstance } from 'fastify';

/** Of every route that takes no payloads: the largest subscription that is accepted has a tenth of this. */
export const MAX_BODY_BYTES = 256 * 1024;

/** Room for the fields around a payload of the greatest size. */
export const ENVELOPE_BYTES = 64 * 1024;

interface PayloadLimits {
  maxPayloadBytes: number;
  maxBatchBytes: number;
}

/** Gives the routes that take payloads a body limit of their own, as they are added from now on. */
export function limitBodies(
  server: FastifyInstance,
  { maxPayloadBytes, maxBatchBytes }: PayloadLimits,
): void {
  server.addHook('onRoute', (route) => {
    if (route.config?.takesRawBody) route.bodyLimit = maxPayloadBytes;
    else if (route.url.endsWith('/events/batch')) route.bodyLimit = maxBatchBytes;
    else if (/\/(events|webhooks\/[^/]+\/:\w+)$/.test(route.url)) {
      route.bodyLimit = maxPayloadBytes + ENVELOPE_BYTES;
    }
  });
}
