import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { uuidV7 } from '../domain/uuid-v7.js';

/** Safe to put into a header and a log line as it is. */
const ACCEPTABLE = /^[A-Za-z0-9._:/+=-]{1,128}$/;

/** The caller's X-Request-ID if it is harmless, else a new one. */
export function requestId(request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && ACCEPTABLE.test(given) ? given : uuidV7(Date.now());
}

/** Every answer names its request, errors included. */
export function answerWithRequestId(server: FastifyInstance): void {
  server.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id);
    done();
  });
}
