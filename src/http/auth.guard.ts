import { hash, timingSafeEqual } from 'node:crypto';
import { createParamDecorator, ExecutionContext, Injectable } from '@nestjs/common';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants.js';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { KeyCache } from '../persistence/key-cache.js';
import { isApiDocs } from './api-docs.js';

type Access = 'tenant' | 'admin' | 'public';

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
  interface FastifyRequest {
    /** Whose key was presented. */
    tenantId?: string;
  }
}

/** A route, or all of a controller's, without a key: health, metrics, whatever something else opens. */
export const Public = () => setAccess('public');

/** A route, or all of a controller's, for the admin key alone. */
export const AdminOnly = () => setAccess('admin');

/** The id of the tenant whose key was presented. */
export const TenantId = createParamDecorator((_: unknown, context: ExecutionContext): string =>
  tenantOf(context.switchToHttp().getRequest<FastifyRequest>()),
);

/** The id of the tenant whose key a request presented. */
export function tenantOf({ tenantId }: FastifyRequest): string {
  if (tenantId === undefined) throw new Error('A route without a tenant asked for one');
  return tenantId;
}

/**
 * Asks each request for its key before a byte of its body is read, which Nest's own guards cannot: they run when it
 * has been read and parsed. A path that leads nowhere ends here as well.
 */
export function guardRoutes(server: FastifyInstance, guard: AuthGuard): void {
  server.addHook('onRequest', async (request) => {
    if (request.is404) throw new Problem('not_found', `There is no route ${request.method} ${request.url}.`);
    await guard.check(request);
  });
}

/** Guards every route: unless marked otherwise, it wants a tenant's key (Bearer token or X-API-Key). */
@Injectable()
export class AuthGuard {
  private readonly adminHash: Buffer | null;

  constructor(
    private readonly keys: KeyCache,
    config: Config,
  ) {
    this.adminHash = config.adminApiKey === null ? null : sha256(config.adminApiKey);
  }

  /** @throws Problem unauthorized, forbidden, admin_key_not_configured */
  async check(request: FastifyRequest): Promise<void> {
    const { url, config } = request.routeOptions;
    const access = config.access ?? (isApiDocs(url) ? 'public' : 'tenant');
    if (access === 'admin') this.requireAdmin(request);
    else if (access === 'tenant') request.tenantId = await this.requireTenant(request);
  }

  private requireAdmin(request: FastifyRequest): void {
    if (this.adminHash === null) {
      throw new Problem(
        'admin_key_not_configured',
        'Set ADMIN_API_KEY in the configuration of the service to manage tenants.',
      );
    }
    if (!timingSafeEqual(sha256(presentedKey(request)), this.adminHash)) {
      throw new Problem('forbidden', 'Only the admin key may do this.');
    }
  }

  private async requireTenant(request: FastifyRequest): Promise<string> {
    const key = presentedKey(request);
    const owner = await this.keys.owner(key);
    if (owner) return owner.tenantId;
    if (this.adminHash && timingSafeEqual(sha256(key), this.adminHash)) {
      throw new Problem('forbidden', "The admin key manages tenants only; use a tenant's API key here.");
    }
    throw new Problem('unauthorized', 'This API key is not known. It may have been deleted or mistyped.');
  }
}

function presentedKey(request: FastifyRequest): string {
  const { authorization, 'x-api-key': apiKey } = request.headers;
  const key = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? apiKey;
  if (typeof key === 'string' && key !== '') return key;
  throw new Problem('unauthorized', 'Send "Authorization: Bearer KEY" or "X-API-Key: KEY".');
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

/** Fastify hands a route's configuration to its hooks; a class stands for its methods that say nothing themselves. */
function setAccess(access: Access): ClassDecorator & MethodDecorator {
  return (target: object, _name?: string | symbol, method?: PropertyDescriptor) => {
    const { prototype } = target as { prototype: object };
    for (const { value } of method ? [method] : Object.values(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value !== 'function') continue;
      const own = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, value as object) as object | undefined;
      Reflect.defineMetadata(FASTIFY_ROUTE_CONFIG_METADATA, { access, ...own }, value as object);
    }
  };
}
