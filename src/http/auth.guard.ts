import { hash, timingSafeEqual } from 'node:crypto';
import { createParamDecorator, ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { allows, Scope } from '../domain/scope.js';
import { KeyCache, KeyOwner } from '../persistence/key-cache.js';
import { KeyUsage } from '../persistence/key-usage.js';
import type { Source } from '../persistence/source-cache.js';
import { Access, accessOf } from './access.js';
import { KnownPaths, noRoute } from './known-paths.js';
import { TenantRateLimit } from './rate-limit.js';
import { SourceGuard } from './source.guard.js';

/** Who sent a request with a key. */
export type Caller = { kind: 'operator' } | ({ kind: 'tenant' } & KeyOwner);

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Whose key was presented, as soon as that is known; undefined on a public route. On a route for sources, the one
     * that was asked for, whoever asks.
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

/** Guards every route: unless marked otherwise, it wants a tenant's key (Bearer token or X-API-Key). */
@Injectable()
export class AuthGuard {
  private readonly adminHash: Buffer | null;

  constructor(
    private readonly keys: KeyCache,
    private readonly usage: KeyUsage,
    private readonly rateLimit: TenantRateLimit,
    private readonly sources: SourceGuard,
    config: Config,
  ) {
    this.adminHash = config.adminApiKey === null ? null : sha256(config.adminApiKey);
  }

  /**
   * Needs no query, and no promise, for a key that was seen lately.
   * @throws Problem unauthorized, forbidden, admin_key_not_configured, ip_not_allowed, tenant_suspended,
   *   insufficient_scope, rate_limited, and those of {@link SourceGuard}; some of them by rejecting
   */
  check(request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    const access = accessOf(request.routeOptions);
    if (access.for === 'anybody') return;
    if (access.for === 'operator') return this.requireOperator(request, reply);
    if (access.for === 'source') return this.sources.check(request, access.namedBy);
    const key = presentedKey(request);
    const owner = this.keys.owner(key);
    return owner instanceof Promise
      ? owner.then((found) => this.admit(request, reply, access, key, found))
      : this.admit(request, reply, access, key, owner);
  }

  private requireOperator(request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    if (this.adminHash === null) {
      throw new Problem(
        'admin_key_not_configured',
        'Set ADMIN_API_KEY in the configuration of the service to manage tenants.',
      );
    }
    const key = presentedKey(request);
    if (this.isAdminKey(key)) {
      request.caller = { kind: 'operator' };
      return;
    }
    const refuse = (owner: KeyOwner | undefined): void | Promise<void> => {
      if (!owner) throw unknownKey();
      request.caller = { kind: 'tenant', ...owner };
      requireAddress(request, owner);
      return afterwards(this.rateLimit.charge(owner, reply), () => {
        throw new Problem('forbidden', 'Only the admin key of the service may do this.');
      });
    };
    const owner = this.keys.owner(key);
    return owner instanceof Promise ? owner.then(refuse) : refuse(owner);
  }

  private admit(
    request: FastifyRequest,
    reply: FastifyReply,
    access: Extract<Access, { scope: Scope }>,
    key: string,
    owner: KeyOwner | undefined,
  ): void | Promise<void> {
    if (!owner) {
      if (!this.isAdminKey(key)) throw unknownKey();
      request.caller = { kind: 'operator' };
      if (access.for === 'operator or tenant') return;
      throw new Problem('forbidden', "The admin key is the operator's; use a tenant's API key here.");
    }
    request.caller = { kind: 'tenant', ...owner };
    // Before it costs anything: a stolen key must not use up what its tenant may ask.
    requireAddress(request, owner);
    return afterwards(this.rateLimit.charge(owner, reply), () => {
      requirePermission(owner, access.scope);
      this.usage.note(owner.keyId);
      if (leavesAnEntry(request)) return this.rateLimit.chargeChange(owner);
    });
  }

  private isAdminKey(key: string): boolean {
    return this.adminHash !== null && timingSafeEqual(sha256(key), this.adminHash);
  }
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

/** Of two different keys it is not clear who asks, and a proxy in front of us may have judged by the other one. */
function presentedKey(request: FastifyRequest): string {
  const { authorization, 'x-api-key': apiKey } = request.headers;
  const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (token !== undefined && apiKey !== undefined && token !== apiKey) {
    throw new Problem('unauthorized', 'Authorization and X-API-Key carry different keys; send one of them.');
  }
  const key = token ?? apiKey;
  if (typeof key === 'string' && key !== '') return key;
  throw new Problem('unauthorized', 'Send "Authorization: Bearer KEY" or "X-API-Key: KEY".');
}

const unknownKey = (): Problem =>
  new Problem('unauthorized', 'This API key is not known. It may be mistyped, revoked or expired.');

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
