import { ArgumentsHost, Catch, ExceptionFilter, HttpException, Inject } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { FieldError, Problem, ProblemCode, PROBLEMS } from '../domain/errors.js';
import { LOGGER } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import { isReadTimeout, isTemporary } from '../persistence/database.js';

declare module 'fastify' {
  interface FastifyReply {
    /** What it says, where it is a problem. */
    problemCode?: ProblemCode;
  }
}

/** An RFC 9457 problem, as it is sent. */
export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ProblemCode;
  errors?: FieldError[];
  request_id: string;
}

/** Turns whatever was thrown into application/problem+json (RFC 9457), and logs what is our own fault. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(
    private readonly metrics: Metrics,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const problem = toProblem(error);
    if (PROBLEMS[problem.code].status >= 500) {
      this.logger.error(
        { err: error, request_id: request.id, route: request.routeOptions.url },
        'request.failed',
      );
    }
    if (PROBLEMS[problem.code].status === 401) this.metrics.unauthorized();
    sendProblem(reply, problem, request.id);
  }
}

/** RFC 9110, section 15.5.2: a 401 names a scheme. There is none for what each provider does in its own way. */
const CHALLENGES: Partial<Record<ProblemCode, string>> = {
  unauthorized: 'Bearer',
  signature_invalid: 'Signature',
};

export function sendProblem(reply: FastifyReply, problem: Problem, requestId: string): void {
  if (reply.sent) return;
  reply.problemCode = problem.code;
  // Of a refused body Fastify would close the connection with the rest unread, which resets it and loses this answer.
  // Left open, Node reads the rest and throws it away, until the time for a request is over.
  if (reply.raw.shouldKeepAlive) void reply.removeHeader('connection');
  if (problem.retryAfterSeconds !== undefined) void reply.header('retry-after', problem.retryAfterSeconds);
  const challenge = CHALLENGES[problem.code];
  if (challenge !== undefined) void reply.header('www-authenticate', challenge);
  void reply
    .status(PROBLEMS[problem.code].status)
    .type('application/problem+json')
    .send(JSON.stringify(problemBody(problem, requestId)));
}

export function problemBody(problem: Problem, requestId: string): ProblemBody {
  const { status, title } = PROBLEMS[problem.code];
  return {
    type: `urn:posthorn:problem:${problem.code}`,
    title,
    status,
    detail: problem.message,
    code: problem.code,
    ...(problem.errors.length > 0 && { errors: problem.errors }),
    request_id: requestId,
  };
}

/** Fastify's and Nest's own refusals, in our words. */
const KNOWN: Record<string, [ProblemCode, string]> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload_too_large', 'The body is larger than this route accepts.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send the body as application/json.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['malformed_json', 'The body is empty; send a JSON document.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['malformed_json', 'The body is not as long as Content-Length says.'],
  FST_ERR_BAD_URL: ['not_found', 'The path is not a valid URL path.'],
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'A part of the path is longer than any id.'],
};

const BY_STATUS: Record<number, ProblemCode> = {
  400: 'malformed_json',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  503: 'unavailable',
};

/** Where Nest's own message does not say what to do. */
const ADVICE: Partial<Record<ProblemCode, string>> = {
  internal: 'Try again; the log has the details.',
  unsupported_media_type: 'The Content-Type cannot be read. That of JSON is application/json.',
  payload_too_large:
    'The body is larger than this route accepts (see MAX_PAYLOAD_BYTES and MAX_BATCH_BYTES).',
};

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HttpException) {
    const code = BY_STATUS[error.getStatus()] ?? (error.getStatus() >= 500 ? 'internal' : 'invalid_request');
    return new Problem(code, ADVICE[code] ?? error.message);
  }
  const { code, statusCode } = (error ?? {}) as { code?: string; statusCode?: number };
  const known = code === undefined ? undefined : KNOWN[code];
  if (known) return new Problem(...known);
  if (statusCode !== undefined && statusCode < 500) {
    return new Problem(BY_STATUS[statusCode] ?? 'invalid_request', (error as Error).message);
  }
  if (isReadTimeout(error)) {
    return new Problem(
      'query_timeout',
      'The database needed more time for this than one request may take. Ask for less: a shorter time, a further filter, ' +
        'or a smaller limit.',
      { retryAfterSeconds: 5 },
    );
  }
  if (isDatabaseOutage(error)) {
    return new Problem(
      'unavailable',
      'The database cannot be reached, or did not answer in time. Try again shortly; with an idempotency key, no event is stored twice.',
      {
        retryAfterSeconds: 1,
      },
    );
  }
  return new Problem('internal', 'The request was not carried out. Try again; the log has the details.');
}

/** Only errors that carry a code of Postgres or of a socket: a bug in our own code is not an outage. */
function isDatabaseOutage(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  if (typeof code === 'string')
    return isTemporary(error) && !code.startsWith('ERR_') && !code.startsWith('FST_');
  return /connection terminated|timeout exceeded when trying to connect|client has encountered a connection error/i.test(
    message ?? '',
  );
}
