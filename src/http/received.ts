import type { FastifyRequest } from 'fastify';
import type { ReceivedRequest, RequestHead } from '../domain/providers/judge.js';

/** What came to a source, before its body. Only Set-Cookie has several values in Node, and none comes in a request. */
export function headOf({ method, url, headers }: FastifyRequest): RequestHead {
  return { method, url, headers: headers as RequestHead['headers'] };
}

/** What came to a source. */
export function receivedOf(request: FastifyRequest): ReceivedRequest {
  return { ...headOf(request), body: request.rawBody ?? Buffer.alloc(0) };
}
