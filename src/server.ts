import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { DynamicModule } from '@nestjs/common';
import { Config } from './config/config.js';
import { serveApiDocs } from './http/api-docs.js';
import { AuthGuard, guardRoutes } from './http/auth.guard.js';
import { answerClientError } from './http/client-error.js';
import { BodyRoom } from './http/body-room.js';
import { acceptJson } from './http/json-body.js';
import { sendProblem, toProblem } from './http/problem.filter.js';
import { answerWithRequestId, requestId } from './http/request-id.js';
import { NestLogger } from './observability/logger.js';

/** Room for the fields around a payload of the greatest size. */
const ENVELOPE_BYTES = 64 * 1024;
/** For the bodies of all requests that are being received or answered. */
const BODY_ROOM_BYTES = 64 * 1024 * 1024;
/** A client that takes longer to send its request is cut off. */
const REQUEST_TIMEOUT_MS = 30_000;
/** How often a server that closes looks for connections that have nothing more to answer. */
const CLOSING_POLL_MS = 50;

/** A Nest application on Fastify with everything that has to be set outside of modules; not yet listening. */
export async function createServer(
  module: DynamicModule,
  config: Config,
  logger: Logger,
): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    genReqId: requestId,
    bodyLimit: config.maxPayloadBytes + ENVELOPE_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: 256 },
    // No hook runs for these, so the header is set here.
    frameworkErrors: (error: FastifyError, request: FastifyRequest, reply: FastifyReply) =>
      sendProblem(reply.header('x-request-id', request.id), toProblem(error), request.id),
    clientErrorHandler: answerClientError,
  });
  const server = adapter.getInstance<FastifyInstance>();
  answerWithRequestId(server);
  endConnectionsOnClose(server);
  server.addHook('onRoute', (route) => {
    if (route.url.endsWith('/events/batch')) route.bodyLimit = config.maxBatchBytes;
  });

  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    logger: new NestLogger(logger),
    abortOnError: false,
    bodyParser: false,
  });
  guardRoutes(server, app.get(AuthGuard));
  acceptJson(server, new BodyRoom(Math.max(BODY_ROOM_BYTES, config.maxBatchBytes + ENVELOPE_BYTES)));
  app.setGlobalPrefix('api/v1', { exclude: ['health', 'ready', 'metrics'] });
  serveApiDocs(app);
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
