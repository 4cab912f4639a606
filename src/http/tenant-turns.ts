import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import { Problem } from '../domain/errors.js';
import type { Metrics } from '../observability/metrics.js';
import { accessOf } from './access.js';
import { setRouteConfig } from './route-config.js';
import { Turns } from './turns.js';

/** So many requests of a tenant wait for their turn; further ones are refused. */
const MAX_WAITING = 100;

/** Which turns a route's requests take: those of most routes, those of bulk work, or none. */
type TurnsTaken = 'usual' | 'bulk' | 'none';

declare module 'fastify' {
  interface FastifyContextConfig {
    turns?: TurnsTaken;
  }
  interface FastifyRequest {
    /** Gives its turn to the next; absent while it has none. */
    endTurn?: (() => void) | undefined;
  }
}

/** Work on any number of rows: one request of a tenant at a time, whatever else the tenant asks meanwhile. */
export const BulkWork = () => setRouteConfig({ turns: 'bulk' });

/** A route whose work is bounded by something else than its tenant's turns. */
export const WithoutTurns = () => setRouteConfig({ turns: 'none' });

/**
 * Keeps one tenant from taking all connections to the database: of the requests that a tenant sends to a process, a
 * third of them as many run at once, and the others wait in line. Holds for the routes for tenants that are added from
 * now on, and has to come after what follows them with hooks of its own that ask the database.
 */
export function takeTurns(
  server: FastifyInstance,
  { databasePoolSize }: { databasePoolSize: number },
  metrics: Metrics,
): void {
  const kinds = {
    usual: new Turns(Math.max(1, Math.floor(databasePoolSize / 3)), MAX_WAITING),
    bulk: new Turns(1, MAX_WAITING),
  };
  server.addHook('onRoute', (route) => {
    const taken = route.config?.turns ?? 'usual';
    if (taken !== 'none' && 'scope' in accessOf(route)) follow(route, kinds[taken], metrics);
  });
}

/** From when the body is there, which may come slowly, until the answer is ready, which may be read slowly. */
function follow(route: RouteOptions, turns: Turns, metrics: Metrics): void {
  route.preValidation = [
    (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void => {
      const { caller } = request;
      if (caller?.kind !== 'tenant') {
        done();
        return;
      }
      const { tenantId } = caller;
      const hasRoom = turns.take(tenantId, {
        start: () => {
          request.endTurn = () => turns.end(tenantId);
          done();
        },
        isGone: () => request.raw.socket.destroyed,
      });
      if (hasRoom) return;
      metrics.tenantLimited();
      done(tooManyWaiting());
    },
    ...[route.preValidation ?? []].flat(),
  ];
  route.onSend = [
    ...[route.onSend ?? []].flat(),
    (
      request: FastifyRequest,
      _reply: FastifyReply,
      payload: unknown,
      done: (error: null, payload: unknown) => void,
    ): void => {
      const { endTurn } = request;
      request.endTurn = undefined;
      endTurn?.();
      done(null, payload);
    },
  ];
}

const tooManyWaiting = (): Problem =>
  new Problem(
    'rate_limited',
    `More than ${MAX_WAITING} requests of this tenant wait for others of its own to end. Nothing of this request was ` +
      'done; send it again after the time in Retry-After.',
    { retryAfterSeconds: 1 },
  );
