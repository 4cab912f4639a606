import { applyDecorators } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isUuid } from '../domain/uuid-v7.js';
import { API_PREFIX } from './api-prefix.js';
import { setRouteConfig } from './route-config.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    location?: string;
  }
}

/** The extension by which the documentation of a route says so. */
export const LOCATION = 'x-location';

/**
 * The answers of a route say in `Location` where what they made is (RFC 9110, section 10.2.2).
 * @param path below the API's prefix, as OpenAPI writes it: `{id}` is the answer's `id`, and
 *   `{parent_id}` the `id` in the request's path
 */
export const Located = (path: string): MethodDecorator => {
  const location = `${API_PREFIX}/${path}`;
  return applyDecorators(setRouteConfig({ location }), ApiExtension(LOCATION, location));
};

/** Holds for the routes with {@link Located} that are added from now on. */
export function locateCreated(server: FastifyInstance): void {
  server.addHook('onRoute', (route) => {
    const location = route.config?.location;
    if (location === undefined) return;
    route.preSerialization = [
      ...[route.preSerialization ?? []].flat(),
      (request: FastifyRequest, reply: FastifyReply, answer: unknown, done): void => {
        const { id } = (answer ?? {}) as { id?: unknown };
        if (isUuid(id)) void reply.header('location', locationOf(location, request, id));
        done(null, answer);
      },
    ];
  });
}

function locationOf(location: string, { params }: FastifyRequest, id: string): string {
  const { id: parentId = '' } = params as { id?: string };
  return location.replace('{id}', id).replace('{parent_id}', parentId);
}
