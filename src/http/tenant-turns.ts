import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import { Problem } from '../domain/errors.js';
import type { Metrics } from '../observability/metrics.js';
import { accessOf } from './access.js';
import { setRouteConfig } from './route-config.js';
import { Turns } from './turns.js';

/** So many requests of a tenant wait for their turn; further ones are refused. */
const MAX_WAITING = 100;

/**
 * Which concurrency limits hold for a route: those of reads (GET, HEAD), of changes (other methods), of bulk work, of
 * searches, or none.
 */
type TurnsTaken = 'read' | 'change' | 'bulk' | 'search' | 'none';

declare module 'fastify' {
  interface FastifyContextConfig {
    turns?: TurnsTaken;
  }
  interface FastifyRequest {
    /** Gives its slots to the next; absent while it has none. */
    endTurn?: (() => void) | undefined;
  }
}

/** Work on any number of rows: one request of a tenant at a time, whatever else the tenant asks meanwhile. */
export const BulkWork = () => setRouteConfig({ turns: 'bulk' });

/** A read that may take its whole budget: one request of a tenant at a time, and a connection is left for other reads. */
export const SearchWork = () => setRouteConfig({ turns: 'search' });

/** A route whose work is bounded by something else than its tenant's concurrency. */
export const WithoutTurns = () => setRouteConfig({ turns: 'none' });

/** How many requests of one tenant run at once, and how many of all tenants together. */
interface Limits {
  ofTenant: Turns;
  ofAll: Turns;
}

/** All tenants hold the slots of `ofAll` together. */
const ALL = 'all';

/**
 * Keeps one tenant from taking all connections to the database, and long work of many tenants from taking all of its
 * kind: the requests beyond a limit wait in a queue. Holds for the routes for tenants that are added from now on, and has
 * to come after what follows them with hooks of its own that ask the database.
 */
export function takeTurns(
  server: FastifyInstance,
  { databasePoolSize, databaseReadPoolSize }: { databasePoolSize: number; databaseReadPoolSize: number },
  metrics: Metrics,
): void {
  const limits = (ofTenant: number, ofAll: number): Limits => ({
    ofTenant: new Turns(Math.max(1, Math.floor(ofTenant)), MAX_WAITING),
    // Those who wait here are bounded by the limit before.
    ofAll: new Turns(Math.max(1, Math.floor(ofAll)), Infinity),
  });
  const kinds = {
    // A pool serves who came first. No tenant has more requests before it than this, so a tenant waits for few of each
    // other one, and not for all that another one sends.
    read: limits(databaseReadPoolSize / 2, Infinity),
    change: limits(databasePoolSize / 3, Infinity),
    bulk: limits(1, databasePoolSize / 5),
    search: limits(1, databaseReadPoolSize / 2),
  };
  server.addHook('onRoute', (route) => {
    const taken = route.config?.turns ?? (isRead(route) ? 'read' : 'change');
    if (taken !== 'none' && 'scope' in accessOf(route)) follow(route, kinds[taken], metrics);
  });
}

const isRead = ({ method }: RouteOptions): boolean =>
  [method].flat().every((name) => name === 'GET' || name === 'HEAD');

/** From when the body is there, which may come slowly, until the answer is ready, which may be read slowly. */
function follow(route: RouteOptions, { ofTenant, ofAll }: Limits, metrics: Metrics): void {
  route.preValidation = [
    (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void => {
      const { caller } = request;
      if (caller?.kind !== 'tenant') {
        done();
        return;
      }
      const { tenantId } = caller;
      const isGone = () => request.raw.socket.destroyed;
      const end = () => {
        ofAll.end(ALL);
        ofTenant.end(tenantId);
      };
      // It holds a slot of its tenant by then, so it is started in any case, to give that back.
      const start = () => {
        if (isGone()) {
          end();
          return;
        }
        request.endTurn = end;
        done();
      };
      const hasRoom = ofTenant.take(tenantId, {
        start: () => void ofAll.take(ALL, { start, isGone: () => false }),
        isGone,
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
