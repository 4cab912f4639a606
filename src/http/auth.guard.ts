import { createParamDecorator, ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../domain/errors.js';
import type { OperatorKey } from '../domain/operator-key.js';
import { allows, Scope } from '../domain/scope.js';
import { hasExpired, KeyCache, KeyOwner, sha256Of } from '../persistence/key-cache.js';
import { KeyUsage } from '../persistence/key-usage.js';
import type { Source } from '../persistence/source-cache.js';
import { Access, accessOf } from './access.js';
import { AuthAttempt, AuthFailureLimit } from './auth-failure-limit.js';
import { OperatorKeys } from './operator-keys.js';
import { presentedKey, unknownKey } from './presented-key.js';
import { KnownPaths, noRoute } from './known-paths.js';
import { TenantRateLimit } from './rate-limit.js';
import { SourceGuard } from './source.guard.js';

/** Who sent a request with a key. */
export type Caller = { kind: 'operator'; name: string } | ({ kind: 'tenant' } & KeyOwner);

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Whose key was presented, as soon as that is known; undefined on a public route. On a route for sources, the one
     * that was asked for, whatever key was presented.
     */
    caller?: Caller | { kind: 'source'; tenantId: string; source: Source; maxBodyBytes: number };
  }
}

/** The id of the tenant whose key was presented. */
export const TenantId = createParamDecorator((_: unknown, context: ExecutionContext): string =>
  tenantOf(context.switchToHttp().getRequest<FastifyRequest>()),
);

/** Who sent the request, on a route for more than one kind. */
export const RequestCaller = createParamDecorator((_: unknown, context: ExecutionContext): Caller =>
  callerOf(context.switchToHttp().getRequest<FastifyRequest>()),
);

/** The id of the key that was presented, on a route for tenants. */
export const KeyId = createParamDecorator(
  (_: unknown, context: ExecutionContext): string =>
    keyOwnerOf(context.switchToHttp().getRequest<FastifyRequest>()).keyId,
);

/** Whether the key that was presented may also do what needs this scope, on a route for tenants. */
export const CallerMay = createParamDecorator((scope: Scope, context: ExecutionContext): boolean =>
  allows(keyOwnerOf(context.switchToHttp().getRequest<FastifyRequest>()).scopes, scope),
);

/** The id of the tenant whose key a request presented. */
export function tenantOf(request: FastifyRequest): string {
  return keyOwnerOf(request).tenantId;
}

/** Whose key a request presented, on a route for tenants. */
export function keyOwnerOf({ caller }: FastifyRequest): KeyOwner {
  if (caller?.kind !== 'tenant') throw new Error('A route without a tenant asked for one');
  return caller;
}

export function callerOf({ caller }: FastifyRequest): Caller {
  if (caller === undefined || caller.kind === 'source') {
    throw new Error('A route without a key asked who its caller is');
  }
  return caller;
}

/** Which source a request is for, on a route for sources. */
export function sourceOf({ caller }: FastifyRequest): Source {
  if (caller?.kind !== 'source') throw new Error('A route that is not for sources asked for one');
  return caller.source;
}

/**
 * Asks each request for its key before a byte of its body is read, which Nest's own guards cannot: they run when it
 * has been read and parsed. What no route matches ends here as well: with the methods that the path has, if any.
 */
export function guardRoutes(server: FastifyInstance, guard: AuthGuard, paths: KnownPaths): void {
  server.addHook('onRequest', (request, reply, done) => {
    try {
      if (request.is404) {
        answerWithoutRoute(request, reply, paths);
        return;
      }
      const pending = guard.check(request, reply);
      if (pending) pending.then(() => done(), done);
      else done();
    } catch (error) {
      done(error as Error);
    }
  });
}

/** @throws Problem not_found, method_not_allowed; OPTIONS is answered with the methods (RFC 9110, section 9.3.7) */
function answerWithoutRoute({ method, url }: FastifyRequest, reply: FastifyReply, paths: KnownPaths): void {
  const allowed = paths.methodsAt(url);
  if (allowed.length > 0) void reply.header('allow', allowed.join(', '));
  if (method !== 'OPTIONS' || allowed.length === 0) throw noRoute(method, url, allowed);
  void reply.status(204).send();
}

type KeyAccess = Exclude<Access, { for: 'anybody' | 'source' }>;

/** Guards every route: unless marked otherwise, it wants a tenant's key (Bearer token or X-API-Key). */
@Injectable()
export class AuthGuard {
  constructor(
    private readonly keys: KeyCache,
    private readonly operators: OperatorKeys,
    private readonly failures: AuthFailureLimit,
    private readonly usage: KeyUsage,
    private readonly rateLimit: TenantRateLimit,
    private readonly sources: SourceGuard,
  ) {}

  /**
   * Needs no query, and no promise, for a key that was seen lately.
   * @throws Problem unauthorized, forbidden, admin_key_not_configured, ip_not_allowed, tenant_suspended,
   *   insufficient_scope, rate_limited, and those of {@link SourceGuard}; some of them by rejecting
   */
  check(request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    const access = accessOf(request.routeOptions);
    if (access.for === 'anybody') return;
    if (access.for === 'source') return this.sources.check(request, access.namedBy);
    if (access.for === 'operator' && !this.operators.areConfigured) {
      throw new Problem(
        'admin_key_not_configured',
        'Set ADMIN_API_KEY in the configuration of the service to manage tenants.',
      );
    }
    const key = presentedKey(request.raw);
    const sha256 = sha256Of(key);
    const attempt = this.failures.begin(request.ip, sha256);
    if (attempt.mayBeOperator) {
      const operator = this.operators.find(sha256);
      if (operator) {
        this.admitOperator(request, access, operator, attempt);
        return;
      }
    } else if (access.for === 'operator') throw this.failures.refusedInAll(request.ip);
    const owner = this.keys.owner(sha256);
    if (!(owner instanceof Promise)) {
      // Known to be wrong since a moment ago: a client that repeats its mistake guesses nothing.
      if (!owner) attempt.forgiven();
      return this.admitTenant(request, reply, access, key, owner, attempt);
    }
    return owner.then(
      (found) => this.admitTenant(request, reply, access, key, found, attempt),
      (error: unknown) => {
        attempt.forgiven();
        throw error;
      },
    );
  }

  private admitOperator(
    request: FastifyRequest,
    access: KeyAccess,
    operator: OperatorKey,
    attempt: AuthAttempt,
  ): void {
    attempt.succeeded();
    request.caller = { kind: 'operator', name: operator.name };
    this.operators.requireAddress(operator, request.ip);
    if (access.for !== 'tenant') return;
    throw new Problem(
      'forbidden',
      'This is an operator key; use an API key of the tenant here. ' +
        'POST /api/v1/tenants/{id}/api-keys makes one, and one with the scope "read" can only look.',
    );
  }

  private admitTenant(
    request: FastifyRequest,
    reply: FastifyReply,
    access: KeyAccess,
    key: string,
    owner: KeyOwner | undefined,
    attempt: AuthAttempt,
  ): void | Promise<void> {
    if (!owner) {
      attempt.failed();
      if (!attempt.mayBeOperator && access.for !== 'tenant') throw this.failures.refusedInAll(request.ip);
      throw unknownKey(key);
    }
    attempt.succeeded();
    requireUnexpired(owner);
    request.caller = { kind: 'tenant', ...owner };
    // Before it costs anything: a stolen key must not use up what its tenant may ask.
    requireAddress(request, owner);
    return afterwards(this.rateLimit.charge(owner, reply), () => {
      if (access.for === 'operator') {
        throw new Problem(
          'forbidden',
          "This is a tenant's API key; only an operator key (ADMIN_API_KEY of the service) may do this.",
        );
      }
      requirePermission(owner, access.scope);
      this.usage.note(owner.keyId);
      if (leavesAnEntry(request)) return this.rateLimit.chargeChange(owner);
    });
  }
}

/** It may be told so: its client has shown that it has the whole key. */
function requireUnexpired(owner: KeyOwner): void {
  if (!hasExpired(owner)) return;
  // The time is reckoned from that of PostgreSQL, a millisecond off.
  const at = new Date(Math.round(owner.expiresAtMs / 1_000) * 1_000).toISOString();
  throw new Problem(
    'unauthorized',
    `This API key has expired, at ${at}, by itself or since it was rotated. Use its successor, or create a new key.`,
  );
}

/** At once when there is nothing to wait for: a promise costs a request a microsecond. */
function afterwards(pending: void | Promise<void>, next: () => void | Promise<void>): void | Promise<void> {
  return pending ? pending.then(next) : next();
}

function requireAddress(request: FastifyRequest, { allowedIps }: KeyOwner): void {
  if (allowedIps === null || allowedIps.has(request.ip)) return;
  throw new Problem('ip_not_allowed', `Keys of this tenant may not be used from ${request.ip}.`);
}

/** Whether the audit log will have an entry of it. */
function leavesAnEntry({ routeOptions }: FastifyRequest): boolean {
  const { audit } = routeOptions.config;
  return audit !== undefined && 'action' in audit;
}

function requirePermission(owner: KeyOwner, scope: Scope): void {
  if (owner.suspended) {
    throw new Problem(
      'tenant_suspended',
      'This tenant is suspended: nothing is accepted, and its deliveries wait. Ask the operator of the service.',
    );
  }
  if (!allows(owner.scopes, scope)) {
    throw new Problem(
      'insufficient_scope',
      `This needs a key with the scope ${scope}; this one has ${[...owner.scopes].join(', ') || 'none'}.`,
    );
  }
}
