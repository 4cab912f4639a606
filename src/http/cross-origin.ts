import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';

/** How long a browser may remember what it was told before it asks again, in seconds. */
const PREFLIGHT_SECONDS = 600;

/**
 * Lets pages of these origins call the API from browsers, with a key in a header; cookies are never asked for.
 * Preflights are answered here, before any key is: browsers send none with them. Without origins nothing is added, and
 * browsers let no page of another origin read an answer.
 */
export async function allowOrigins(server: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await server.register(cors, {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'idempotency-key', 'x-api-key', 'x-request-id'],
    exposedHeaders: ['x-request-id', 'retry-after', 'ratelimit', 'ratelimit-policy'],
    credentials: false,
    maxAge: PREFLIGHT_SECONDS,
    // Of an OPTIONS that is no preflight it would answer 400 in plain text.
    strictPreflight: false,
  });
}
