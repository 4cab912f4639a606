import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { DynamicModule } from '@nestjs/common';
import { Config } from './config/config.js';
import { AddressRanges } from './domain/address-ranges.js';
import { prefixRoutes } from './http/api-prefix.js';
import { auditRoutes } from './http/audit-trail.js';
import { AuthGuard, guardRoutes } from './http/auth.guard.js';
import { ENVELOPE_BYTES, limitBodies, MAX_BODY_BYTES } from './http/body-limits.js';
import { BodyRoom } from './http/body-room.js';
import { answerClientError, answerConnect } from './http/client-error.js';
import { watchConnections } from './http/connections.js';
import { allowOrigins } from './http/cross-origin.js';
import { EDGE_LIMITS, MAX_HEADER_BYTES, MAX_PATH_PARAMETER_CHARACTERS } from './http/edge-limits.js';
import { cleanForwardedFor } from './http/forwarded-for.js';
import { honourIdempotencyKeys } from './http/idempotency.js';
import { acceptBodies } from './http/json-body.js';
import { KnownPaths } from './http/known-paths.js';
import { locateCreated } from './http/located.js';
import { serveApiDocs } from './http/openapi/api-docs.js';
import { sendProblem, toProblem } from './http/problem.filter.js';
import { answerWithRequestId, requestId } from './http/request-id.js';
import { refuseOddRequests } from './http/request-shape.js';
import { answerWithSecurityHeaders, securityHeadersFor } from './http/security-headers.js';
import { takeTurns } from './http/tenant-turns.js';
import { NestLogger } from './observability/logger.js';
import { Metrics } from './observability/metrics.js';
import { AuditRepository } from './persistence/repositories/audit.repository.js';
import { IdempotentRequestRepository } from './persistence/repositories/idempotent-request.repository.js';

/** For the bodies of all requests that are being received or answered, if the largest is not too large for it. */
const BODY_ROOM_BYTES = 64 * 1024 * 1024;
/** How often a server that closes looks for connections that have nothing more to answer. */
const CLOSING_POLL_MS = 50;

/** A Nest application on Fastify with everything that has to be set outside of modules; not yet listening. */
export async function createServer(
  module: DynamicModule,
  config: Config,
  logger: Logger,
  limits = EDGE_LIMITS,
): Promise<NestFastifyApplication> {
  const behindProxies = config.trustedProxies.length > 0;
  const proxies = AddressRanges.parse(config.trustedProxies);
  const largestBody = Math.max(MAX_BODY_BYTES, config.maxPayloadBytes + ENVELOPE_BYTES, config.maxBatchBytes);
  const adapter = new FastifyAdapter({
    genReqId: requestId,
    trustProxy: behindProxies && [...config.trustedProxies],
    bodyLimit: MAX_BODY_BYTES,
    // BodyRoom asks for a pace, and ends a slow body long before; this is what the slowest permitted may take.
    requestTimeout: limits.requestMs + Math.ceil((largestBody * 1_000) / limits.bodyBytesPerSecond),
    keepAliveTimeout: limits.keepAliveMs,
    http: {
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: limits.checkMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      // Node's own refusal is no problem document; ours is.
      requireHostHeader: false,
    },
    // The route, and with it what it asks of a key, is the same with a slash at the end.
    routerOptions: { maxParamLength: MAX_PATH_PARAMETER_CHARACTERS, ignoreTrailingSlash: true },
    // No hook runs for these, so the headers are set here.
    frameworkErrors: (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => {
      void reply.headers({ 'x-request-id': request.id, ...securityHeadersFor(request.raw, proxies) });
      sendProblem(reply, toProblem(error), request.id);
    },
    clientErrorHandler: answerClientError,
  });
  const server = adapter.getInstance<FastifyInstance>();
  const paths = new KnownPaths();
  paths.watch(server);
  answerWithRequestId(server);
  answerWithSecurityHeaders(server, proxies);
  if (behindProxies) cleanForwardedFor(server);
  const bodyRoom = new BodyRoom({ size: BODY_ROOM_BYTES, largestBody, limits });
  bodyRoom.watch(server);
  refuseOddRequests(server);
  allowOrigins(server, config.corsOrigins);
  limitBodies(server, config);
  server.server.on('connect', answerConnect);
  // Node would let a client send what is then refused; BodyRoom tells it to go on.
  server.server.on('checkContinue', (request, response) => server.routing(request, response));
  // Node would answer 417 without a word; what it does not know may be passed over (RFC 9110, section 10.1.1).
  server.server.on('checkExpectation', (request, response) => server.routing(request, response));
  watchConnections(server, limits);
  endConnectionsOnClose(server);

  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    logger: new NestLogger(logger),
    abortOnError: false,
    bodyParser: false,
  });
  guardRoutes(server, app.get(AuthGuard), paths);
  auditRoutes(server, app.get(AuditRepository, { strict: false }), logger);
  honourIdempotencyKeys(server, app.get(IdempotentRequestRepository, { strict: false }), logger);
  locateCreated(server);
  takeTurns(server, config, app.get(Metrics, { strict: false }));
  acceptBodies(server, bodyRoom);
  prefixRoutes(app);
  if (config.servesDocs) serveApiDocs(app, config.publicUrl);
  return app;
}

/**
 * Node ends the connections that are idle when a server begins to close. One that is busy just then falls idle later,
 * and would hold up the end of the process for as long as its client keeps it.
 */
function endConnectionsOnClose(server: FastifyInstance): void {
  server.addHook('preClose', (done) => {
    const polling = setInterval(() => server.server.closeIdleConnections(), CLOSING_POLL_MS);
    server.server.once('close', () => clearInterval(polling));
    done();
  });
}
