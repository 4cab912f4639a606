import type { FastifyInstance } from 'fastify';

/** What a preflight is told; ten minutes long a browser need not ask again. */
const PREFLIGHT_HEADERS = {
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
  'access-control-allow-headers': 'authorization, content-type, idempotency-key, x-api-key, x-request-id',
  'access-control-max-age': '600',
};
const EXPOSED_HEADERS =
  'allow, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id';

/**
 * Lets pages of these origins call the API from browsers, with a key in a header; cookies are never asked for.
 * Preflights are answered here, before any key is: browsers send none with them. Without origins nothing is added, and
 * browsers let no page of another origin read an answer.
 *
 * A hook alone, by the Fetch standard, section 3.2: a plugin's route for OPTIONS would have to be added before the
 * application, and so without its error handler.
 */
export function allowOrigins(server: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  server.addHook('onRequest', ({ method, headers }, reply, done) => {
    void reply.header('vary', 'Origin');
    if (headers.origin === undefined || !origins.includes(headers.origin)) {
      done();
      return;
    }
    void reply.headers({
      'access-control-allow-origin': headers.origin,
      'access-control-expose-headers': EXPOSED_HEADERS,
    });
    const isPreflight = method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
    if (isPreflight) void reply.headers(PREFLIGHT_HEADERS).status(204).send();
    else done();
  });
}
