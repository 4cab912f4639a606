import type { FastifyInstance } from 'fastify';
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

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
}

/** A route, or all of a controller's, without a key: health, whatever something else opens. */
export const Public = () => setAccess({ for: 'anybody' });

/** A route, or all of a controller's, for the operator's admin key alone. */
export const AdminOnly = () => setAccess({ for: 'operator' });

/** The scope that a tenant's key needs for a route, or all of a controller's, that say nothing themselves. */
export const Scope = (scope: KeyScope) => setAccess({ for: 'tenant', scope });

/** A route for the admin key, and for a tenant's key with that scope: it has to look at the caller. */
export const OperatorOr = (scope: KeyScope) => setAccess({ for: 'operator or tenant', scope });

/** A route without a key, for who signs as a source wants it; open as long as the source and its tenant are. */
export const SourceDoor = (namedBy: SourceName) => setAccess({ for: 'source', namedBy });

/** What a route needs. What says nothing is for tenants: to look needs `read`, anything else `admin`. */
export function accessOf(route: {
  method?: string | string[] | undefined;
  url?: string | undefined;
  config?: { access?: Access } | undefined;
}): Access {
  if (route.config?.access) return route.config.access;
  if (isApiDocs(route.url)) return { for: 'anybody' };
  const methods = [route.method ?? []].flat();
  const looksOnly = methods.every((method) => method === 'GET' || method === 'HEAD');
  return { for: 'tenant', scope: looksOnly ? 'read' : 'admin' };
}

/** Whom each route is for, by method and path as OpenAPI writes it (`GET /a/{id}`), as routes are added from now on. */
export function recordAccess(server: FastifyInstance): ReadonlyMap<string, Access> {
  const recorded = new Map<string, Access>();
  server.addHook('onRoute', (route) => {
    const path = route.url.replace(/:(\w+)/g, '{$1}');
    for (const method of [route.method].flat()) recorded.set(`${method} ${path}`, accessOf(route));
  });
  return recorded;
}

/** Whether this is a route of Swagger UI: they are Fastify's own, without decorators. */
function isApiDocs(url = ''): boolean {
  return /^\/docs(?:[-/]|$)/.test(url);
}

function setAccess(access: Access): ClassDecorator & MethodDecorator {
  return setRouteConfig({ access });
}
