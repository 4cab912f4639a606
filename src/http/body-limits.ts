import type { FastifyInstance, RouteOptions } from 'fastify';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Its body holds payloads, of which the bytes are kept as they came. */
    takesPayloads?: boolean;
  }
}

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
    else if (route.url.endsWith('/events/batch')) takePayloads(route, maxBatchBytes);
    else if (/\/(events|webhooks\/[^/]+\/:\w+)$/.test(route.url)) {
      takePayloads(route, maxPayloadBytes + ENVELOPE_BYTES);
    }
  });
}

function takePayloads(route: RouteOptions, bodyLimit: number): void {
  route.bodyLimit = bodyLimit;
  route.config = { ...route.config, takesPayloads: true };
}
