import { applyDecorators } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';
import type { Scope as KeyScope } from '../domain/scope.js';
import { setRouteConfig } from './route-config.js';

/**
 * Whom a route is for: anybody; who has a tenant's key with that scope; the operator; either of the two; or who signs
 * as a source wants it, which the route itself has to verify, since it takes the body.
 */
export type Access =
  | { for: 'anybody' }
  | { for: 'source'; namedBy: SourceName }
  | { for: 'operator' }
  | { for: 'tenant'; scope: KeyScope }
  | { for: 'operator or tenant'; scope: KeyScope };

/** How a request says which source it is for: the `source_id` in its path, or its tenant, who has one for this. */
export type SourceName = 'path' | 'X-Tenant-ID';

/** The extension by which the documentation of a route knows it; the document shows it as `x-required-scope`. */
export const ACCESS = 'x-access';

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
}

/** A route, or all of a controller's, without a key: health, whatever something else opens. */
export const Public = () => setAccess({ for: 'anybody' });

/** A route, or all of a controller's, for an operator key alone. */
export const AdminOnly = () => setAccess({ for: 'operator' });

/** The scope that a tenant's key needs for a route, or all of a controller's, that say nothing themselves. */
export const Scope = (scope: KeyScope) => setAccess({ for: 'tenant', scope });

/** A route for an operator key, and for a tenant's key with that scope: it has to look at the caller. */
export const OperatorOr = (scope: KeyScope) => setAccess({ for: 'operator or tenant', scope });

/** A route without a key, for who signs as a source wants it; open as long as the source and its tenant are. */
export const SourceDoor = (namedBy: SourceName) => setAccess({ for: 'source', namedBy });

/** What a route needs. What says nothing is for tenants: to look needs `read`, anything else `admin`. */
export function accessOf(route: {
  method?: string | string[] | undefined;
  url?: string | undefined;
  config?: { access?: Access | undefined } | undefined;
}): Access {
  if (route.config?.access) return route.config.access;
  if (isApiDocs(route.url)) return { for: 'anybody' };
  const methods = [route.method ?? []].flat();
  const looksOnly = methods.every((method) => method === 'GET' || method === 'HEAD');
  return { for: 'tenant', scope: looksOnly ? 'read' : 'admin' };
}

/** Whether this is a route of Swagger UI: they are Fastify's own, without decorators. */
function isApiDocs(url = ''): boolean {
  return /^\/docs(?:[-/]|$)/.test(url);
}

function setAccess(access: Access): ClassDecorator & MethodDecorator {
  return applyDecorators(setRouteConfig({ access }), ApiExtension(ACCESS, access));
}
