import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { AddressRanges } from '../domain/address-ranges.js';

/**
 * Of every answer. What helmet would set and a JSON API has use for, as constants: helmet costs 7 µs a request, this
 * 1 µs. Answers may hold secrets, so no cache keeps them.
 */
export const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/** SHA-256 of the style elements and attributes in the page of Swagger UI and in its logo: no other ones count. */
const DOCS_STYLES = [
  '/jDKvbQ8cdux+c5epDIqkjHbXDaIY8RucT1PmAe8FG4=',
  'eaPyLWVdqMc60xuz5bTp2yBRgVpQSoUggte1+40ONPU=',
  'ezdv1bOGcoOD7FKudKN0Y2Mb763O6qVtM8LT2mtanIU=',
  'RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w=',
];

/** Swagger UI loads its own files only, and icons as data URLs. */
const DOCS_HEADERS = {
  ...SECURITY_HEADERS,
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'unsafe-hashes' ${DOCS_STYLES.map((hash) => `'sha256-${hash}'`).join(' ')}`,
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
};

/** A year. Only the name that was asked for: what else lives below it is not ours to decide. */
const HSTS = 'max-age=31536000';

/** @param proxies those that are trusted, see `securityHeadersFor` */
export function answerWithSecurityHeaders(server: FastifyInstance, proxies: AddressRanges): void {
  server.addHook('onRequest', ({ raw }, reply, done) => {
    void reply.headers(securityHeadersFor(raw, proxies));
    done();
  });
}

/**
 * @param request as Node has it: where Fastify finds no route, it does not apply the trusted proxies
 * @param proxies which may say that a request came over TLS, which Posthorn does not speak itself: only then browsers
 *   are told to use nothing else (RFC 6797, section 7.2)
 */
export function securityHeadersFor(request: IncomingMessage, proxies: AddressRanges): Record<string, string> {
  const headers = request.url?.startsWith('/docs') ? DOCS_HEADERS : SECURITY_HEADERS;
  return isOverTls(request, proxies) ? { ...headers, 'strict-transport-security': HSTS } : headers;
}

function isOverTls({ headers, socket }: IncomingMessage, proxies: AddressRanges): boolean {
  // The last one is by the proxy that is nearest.
  const protocol = String(headers['x-forwarded-proto'] ?? '')
    .split(',')
    .at(-1);
  return protocol?.trim() === 'https' && proxies.has(socket.remoteAddress ?? '');
}
