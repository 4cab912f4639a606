import { hash } from 'node:crypto';
import { applyDecorators, createParamDecorator, ExecutionContext } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import type { Logger } from 'pino';
import { systemClock } from '../domain/clock.js';
import { CreationSeed } from '../domain/creation-seed.js';
import { UndecryptableSecret } from '../domain/encryption.js';
import { invalidRequest, Problem } from '../domain/errors.js';
import { isIdempotencyKey, KEY_RULE } from '../domain/idempotency-key.js';
import {
  Attempt,
  type IdempotentRequestRepository,
  KEY_HOURS,
  type KeptAnswer,
  MAX_KEYS,
} from '../persistence/repositories/idempotent-request.repository.js';
import { Access, accessOf } from './access.js';
import { callerOf } from './auth.guard.js';
import { JSON_CONTENT_TYPE } from './raw-json.js';
import { setRouteConfig } from './route-config.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    repeatIsHarmlessBecause?: string;
  }
  interface FastifyRequest {
    /** Of a request with an Idempotency-Key that is being carried out. */
    attempt?: Attempt;
  }
}

/** The extension by which the documentation says why a route has no use for the header. */
export const REPEAT_IS_HARMLESS = 'x-repeat-is-harmless-because';
export const REPLAYED = 'idempotency-replayed';

/** A POST route that needs no Idempotency-Key of ours, for the reason given. */
export const RepeatIsHarmless = (reason: string): MethodDecorator =>
  applyDecorators(
    setRouteConfig({ repeatIsHarmlessBecause: reason }),
    ApiExtension(REPEAT_IS_HARMLESS, reason),
  );

/** What the ids and secrets that a request makes up come from: a repetition of the request has the same. */
export const Seed = createParamDecorator((_: unknown, context: ExecutionContext): CreationSeed => {
  const { attempt } = context.switchToHttp().getRequest<FastifyRequest>();
  return attempt?.seed ?? CreationSeed.fresh(systemClock.now());
});

/** Whether a route honours the header: every POST with a key, unless its repetition is harmless anyway. */
export const honoursKey = (method: string, access: Access, harmlessBecause: string | undefined): boolean =>
  method === 'POST' && access.for !== 'anybody' && access.for !== 'source' && harmlessBecause === undefined;

/**
 * Makes a repetition of a request with the same Idempotency-Key harmless (draft-ietf-httpapi-idempotency-key-header),
 * on the routes that are added from now on: what was answered with success is answered so again, and nothing is done.
 *
 * The refusal of a first attempt did nothing, so that its key is free again. Of an attempt that ended without an answer,
 * or with an error of ours, it is not known what it did: the next one goes on with its seed, see {@link CreationSeed},
 * and when that one is refused the key stays with the request.
 */
export function honourIdempotencyKeys(
  server: FastifyInstance,
  requests: IdempotentRequestRepository,
  logger: Logger,
): void {
  const keys = new IdempotencyKeys(requests, logger);
  server.addHook('onRoute', (route) => {
    const methods = [route.method].flat();
    const because = route.config?.repeatIsHarmlessBecause;
    if (methods.some((method) => honoursKey(method, accessOf(route), because))) keys.follow(route);
  });
}

class IdempotencyKeys {
  constructor(
    private readonly requests: IdempotentRequestRepository,
    private readonly logger: Logger,
  ) {}

  follow(route: RouteOptions): void {
    // Before the audit log's, for what is only answered again leaves no entry there.
    route.preHandler = [
      async (request: FastifyRequest, reply: FastifyReply) => this.begin(request, reply),
      ...[route.preHandler ?? []].flat(),
    ];
    route.onSend = [
      ...[route.onSend ?? []].flat(),
      async (request: FastifyRequest, reply: FastifyReply, payload: unknown) =>
        this.end(request, reply, payload),
    ];
  }

  /**
   * @throws Problem invalid_request, idempotency_conflict, request_in_progress, answer_not_kept, rate_limited,
   *   secret_unreadable
   */
  private async begin(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
    const { 'idempotency-key': key } = request.headers;
    if (key === undefined) return undefined;
    if (!isIdempotencyKey(key)) throw invalidRequest([{ path: 'Idempotency-Key', message: KEY_RULE }]);
    const caller = callerOf(request);
    const tenantId = caller.kind === 'tenant' ? caller.tenantId : null;
    const begun = await this.requests
      .begin({ tenantId, key, fingerprint: fingerprintOf(request) })
      .catch((error: unknown) => {
        throw error instanceof UndecryptableSecret ? unreadable() : error;
      });
    if (begun.kind === 'begun') {
      request.attempt = begun.attempt;
      return undefined;
    }
    if (begun.kind === 'answered') return answerAgain(reply, begun.answer);
    throw REFUSALS[begun.kind]();
  }

  private async end(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<void> {
    const { attempt } = request;
    if (attempt === undefined) return;
    const { statusCode: status } = reply;
    try {
      if (status >= 500) await this.requests.release(attempt);
      else if (status >= 400) await this.refused(attempt);
      else await this.requests.keep(attempt, { status, location: locationOf(reply), body: String(payload) });
    } catch (error) {
      // Nothing is lost: when the lease is over a repetition goes on with the seed.
      this.logger.error({ err: error, request_id: request.id }, 'idempotency.end_failed');
    }
  }

  /** What the first attempt refuses was not done. A later one may be refused after an earlier one has done it. */
  private refused(attempt: Attempt): Promise<void> {
    return attempt.number === 1 ? this.requests.forget(attempt) : this.requests.release(attempt);
  }
}

function answerAgain(reply: FastifyReply, { status, location, body }: KeptAnswer): FastifyReply {
  if (location !== null) void reply.header('location', location);
  return reply.status(status).header(REPLAYED, 'true').type(JSON_CONTENT_TYPE).send(body);
}

/**
 * What must be the same for a repetition to be one. The actor is a part of it: an answer may hold a key, which another
 * key of the tenant might not have been given. Of the path the route and its ids count, however they are written: with
 * a slash at the end, in percent-encoding, or in capitals.
 */
function fingerprintOf(request: FastifyRequest): Buffer {
  const { method, routeOptions, rawBody = Buffer.alloc(0) } = request;
  const caller = callerOf(request);
  const actor = caller.kind === 'tenant' ? caller.keyId : `operator ${caller.name}`;
  const ids = Object.values(request.params as Record<string, string>).map((id) => id.toLowerCase());
  const query = Object.entries(request.query as object).sort(([one], [other]) => (one < other ? -1 : 1));
  const head = JSON.stringify([actor, method, routeOptions.url, ids, query]);
  return hash('sha256', Buffer.concat([Buffer.from(`${head}\n`), rawBody]), 'buffer');
}

function locationOf(reply: FastifyReply): string | null {
  const location = reply.getHeader('location');
  return typeof location === 'string' ? location : null;
}

const REFUSALS = {
  'in progress': () =>
    new Problem(
      'request_in_progress',
      'The first request with this Idempotency-Key is not answered yet. Send it again after the time in Retry-After.',
      { retryAfterSeconds: 1 },
    ),
  'another request': () =>
    new Problem(
      'idempotency_conflict',
      'This Idempotency-Key belongs to a request with another path, another body or another API key. Use a new one for a ' +
        'new request.',
    ),
  'answer dropped': () =>
    new Problem(
      'answer_not_kept',
      'The first request with this Idempotency-Key succeeded, and was not carried out again. Its answer is no longer ' +
        'kept, because later answers took its place. See what it has made, and use a new key for a new request.',
    ),
  'too many keys': () =>
    new Problem(
      'rate_limited',
      `A tenant may use ${MAX_KEYS} idempotency keys in ${KEY_HOURS} hours. Nothing of this request was done; send it ` +
        'without Idempotency-Key, or later.',
      { retryAfterSeconds: 3_600 },
    ),
};

const unreadable = (): Problem =>
  new Problem(
    'secret_unreadable',
    'What was kept of the first request with this Idempotency-Key cannot be decrypted. See what it has made, and use a ' +
      'new key.',
  );
