import type { FastifyInstance, FastifyRequest } from 'fastify';
import { invalidRequest, Problem } from '../domain/errors.js';
import { MAX_HEADERS, MAX_QUERY_PARAMETERS } from './edge-limits.js';

/** Refuses what HTTP forbids and Node lets pass, and what is far more than any real request. */
export function refuseOddRequests(server: FastifyInstance): void {
  server.addHook('onRequest', (request, reply, done) => {
    const problem = oddity(request);
    if (problem === null) {
      done();
      return;
    }
    // A proxy in front of us may take what follows on this connection for something else.
    reply.raw.shouldKeepAlive = false;
    done(problem);
  });
}

function oddity({ raw, url }: FastifyRequest): Problem | null {
  const { rawHeaders, httpVersion } = raw;
  // Node parses `HTTP/2.0` in a request line as well. RFC 9112, section 6.1: HTTP/1.0 knows no Transfer-Encoding.
  const isOld = httpVersion === '1.0';
  if (!isOld && httpVersion !== '1.1') {
    return new Problem('malformed_request', 'Speak HTTP/1.1 here, or HTTP/1.0.');
  }
  const encoding = raw.headers['transfer-encoding'];
  if (encoding !== undefined) {
    if (isOld) return new Problem('malformed_request', 'A request of HTTP/1.0 has no Transfer-Encoding.');
    // Node takes the chunks apart and hands over the rest as it came.
    if (encoding.toLowerCase() !== 'chunked') {
      return new Problem('malformed_request', 'The only Transfer-Encoding known here is chunked.');
    }
  }
  if (rawHeaders.length > 2 * MAX_HEADERS) {
    return new Problem('headers_too_large', `A request may have ${MAX_HEADERS} headers.`);
  }
  const hosts = countHeaders(rawHeaders, 'host');
  // RFC 9112, section 3.2. HTTP/1.0 needs none.
  if (hosts > 1 || (hosts === 0 && !isOld)) {
    return new Problem('malformed_request', 'A request of HTTP/1.1 has one Host header.');
  }
  // Node joins them into one key, which neither side has chosen.
  if (raw.headers['idempotency-key'] !== undefined && countHeaders(rawHeaders, 'idempotency-key') > 1) {
    return new Problem(
      'malformed_request',
      'The request has the header Idempotency-Key more than once: send it once, with one key.',
    );
  }
  if (queryParameters(url) > MAX_QUERY_PARAMETERS) {
    const message = `must have at most ${MAX_QUERY_PARAMETERS} parameters`;
    return invalidRequest([{ path: 'query', message }]);
  }
  return null;
}

/** @param wanted in small letters */
function countHeaders(rawHeaders: readonly string[], wanted: string): number {
  let count = 0;
  // Names stand at the even places.
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === wanted.length && name.toLowerCase() === wanted) count += 1;
  }
  return count;
}

function queryParameters(url: string): number {
  let at = url.indexOf('?');
  let count = 0;
  for (; at !== -1; at = url.indexOf('&', at + 1)) count += 1;
  return count;
}
