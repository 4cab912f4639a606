import { applyDecorators } from '@nestjs/common';
import { ApiExtension } from '@nestjs/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import { isIP } from 'node:net';
import type { Logger } from 'pino';
import { AuditAction, isCreation, objectTypeOf } from '../domain/audit-action.js';
import { systemClock } from '../domain/clock.js';
import { Problem } from '../domain/errors.js';
import { isUuid, uuidV7 } from '../domain/uuid-v7.js';
import { AuditEntry, AuditRepository, AuditResult } from '../persistence/repositories/audit.repository.js';
import { callerOf } from './auth.guard.js';
import { REPLAYED } from './idempotency.js';
import { setRouteConfig } from './route-config.js';

/** What a route leaves in the audit log: entries of that action, or none, and then why not. */
type Audit = { action: AuditAction } | { noneBecause: string };

declare module 'fastify' {
  interface FastifyContextConfig {
    audit?: Audit;
  }
  interface FastifyRequest {
    /** The entry of this request; absent while nothing was written. */
    auditEntry?: { id: string; isWritten: boolean; answerId?: string };
  }
}

/** The requests to a route are in the audit log under that name, which its documentation carries as well. */
export const Audited = (action: AuditAction): MethodDecorator =>
  applyDecorators(setRouteConfig({ audit: { action } }), ApiExtension('x-audit-action', action));

/** A route that is not there only to look, and yet leaves no entry in the audit log, for the reason given. */
export const NotAudited = (reason: string) => setRouteConfig({ audit: { noneBecause: reason } });

/**
 * Follows the routes that are added from now on: those with {@link Audited} by hooks of their own, the others by none.
 * Adding one that may change something and says nothing of the audit log fails, and with it the start.
 */
export function auditRoutes(server: FastifyInstance, entries: AuditRepository, logger: Logger): void {
  const trail = new AuditTrail(entries, logger);
  server.addHook('onRoute', (route) => {
    const audit = route.config?.audit;
    if (audit === undefined) requireThatItLooksOnly(route);
    else if ('action' in audit) trail.follow(route, audit.action);
  });
}

const LOOKING = ['GET', 'HEAD', 'OPTIONS'];

function requireThatItLooksOnly({ method, url }: RouteOptions): void {
  const changing = [method].flat().filter((name) => !LOOKING.includes(name));
  if (changing.length === 0) return;
  throw new Error(
    `${changing.join(', ')} ${url} does not say what it leaves in the audit log: give it @Audited(action) or ` +
      '@NotAudited(reason) of src/http/audit-trail.ts.',
  );
}

/** A caller that is refused again and again must not fill the disk: so many entries of that a minute. */
const REFUSALS_A_MINUTE = 60;
const MAX_FIELDS = 32;
const FIELD_NAME = /^[a-z][a-z0-9_]{0,63}$/;
const MAX_USER_AGENT = 256;

/**
 * An entry is written before anything is done, and completed before the answer leaves. What ends in between, however it
 * ends, leaves an entry that says `begun`: whether it was done is then unknown.
 */
class AuditTrail {
  private readonly refusals = new Map<string | null, number>();
  private refusalsSince = 0;

  constructor(
    private readonly entries: AuditRepository,
    private readonly logger: Logger,
  ) {}

  follow(route: RouteOptions, action: AuditAction): void {
    route.preHandler = [
      async (request: FastifyRequest) => this.begin(request, action),
      ...[route.preHandler ?? []].flat(),
    ];
    route.preSerialization = [
      ...[route.preSerialization ?? []].flat(),
      (request, _reply, payload, done) => {
        noteId(request, payload);
        done(null, payload);
      },
    ];
    route.onSend = [
      ...[route.onSend ?? []].flat(),
      async (request: FastifyRequest, reply: FastifyReply) => this.end(request, reply, action),
    ];
  }

  /** @throws Problem unavailable when the entry cannot be written: then nothing is done either */
  private async begin(request: FastifyRequest, action: AuditAction): Promise<void> {
    const entry = entryOf(request, action);
    request.auditEntry = { id: entry.id, isWritten: false };
    try {
      await this.entries.insert(entry);
    } catch (error) {
      this.logger.error({ err: error, request_id: request.id, action }, 'audit.begin_failed');
      throw new Problem(
        'unavailable',
        'The audit log cannot be written, so nothing was done. Try again shortly.',
        {
          retryAfterSeconds: 1,
        },
      );
    }
    request.auditEntry.isWritten = true;
  }

  private async end(request: FastifyRequest, reply: FastifyReply, action: AuditAction): Promise<void> {
    // Nothing was done: the entry is that of the first request.
    if (reply.hasHeader(REPLAYED)) return;
    const { auditEntry } = request;
    const outcome = { statusCode: reply.statusCode, result: resultOf(reply) };
    try {
      if (auditEntry?.isWritten) {
        await this.entries.complete(auditEntry.id, { ...outcome, ...idsOf(request, action) });
      } else if (!auditEntry && this.isWorthAnEntry(request, outcome.result)) {
        await this.entries.insert(entryOf(request, action), outcome);
      }
    } catch (error) {
      this.logger.error({ err: error, request_id: request.id, action, ...outcome }, 'audit.end_failed');
    }
  }

  /** Of a request that was refused before it began: whether its caller is known, and was not refused too often lately. */
  private isWorthAnEntry({ caller, id }: FastifyRequest, result: AuditResult): boolean {
    if (caller === undefined || result === 'rate_limited') return false;
    const now = performance.now();
    if (now - this.refusalsSince > 60_000) {
      this.refusals.clear();
      this.refusalsSince = now;
    }
    const actor = caller.kind === 'tenant' ? caller.keyId : caller.kind === 'operator' ? caller.name : null;
    const count = (this.refusals.get(actor) ?? 0) + 1;
    this.refusals.set(actor, count);
    if (count === REFUSALS_A_MINUTE + 1) {
      this.logger.warn({ request_id: id, actor_id: actor }, 'audit.refusals_left_out');
    }
    return count <= REFUSALS_A_MINUTE;
  }
}

function entryOf(request: FastifyRequest, action: AuditAction): AuditEntry {
  const caller = callerOf(request);
  const now = systemClock.now();
  const isOperator = caller.kind === 'operator';
  return {
    id: uuidV7(now),
    at: new Date(now),
    tenantId: isOperator ? tenantInPath(request) : caller.tenantId,
    actorKind: isOperator ? 'operator' : 'api_key',
    actorId: isOperator ? null : caller.keyId,
    actorName: isOperator ? caller.name : null,
    action,
    objectType: objectTypeOf(action),
    objectId: isCreation(action) ? null : idInPath(request),
    fields: fieldNames(request.body),
    ip: addressOf(request.ip),
    userAgent: userAgentOf(request),
    requestId: request.id,
  };
}

const resultOf = (reply: FastifyReply): AuditResult =>
  reply.problemCode ?? (reply.statusCode < 400 ? 'ok' : 'internal');

/** Which object the answer to a request tells of. */
function noteId({ auditEntry }: FastifyRequest, answer: unknown): void {
  const { id } = (answer ?? {}) as { id?: unknown };
  if (auditEntry && isUuid(id)) auditEntry.answerId = id;
}

/** What the answer tells: the id of what was created. */
function idsOf(
  request: FastifyRequest,
  action: AuditAction,
): { tenantId?: string | undefined; objectId?: string | undefined; newId?: string | undefined } {
  const id = request.auditEntry?.answerId;
  if (isCreation(action)) return { objectId: id, tenantId: action === 'tenant.create' ? id : undefined };
  return { newId: id === idInPath(request) ? undefined : id };
}

/** The object stands last in a path, behind what it belongs to. */
function idInPath({ params }: FastifyRequest): string | null {
  const id = Object.values((params ?? {}) as Record<string, unknown>).at(-1);
  return isUuid(id) ? id.toLowerCase() : null;
}

function tenantInPath({ routeOptions, params }: FastifyRequest): string | null {
  if (!/\/tenants\/:id(?:\/|$)/.test(routeOptions.url ?? '')) return null;
  const { id } = params as { id?: unknown };
  return isUuid(id) ? id.toLowerCase() : null;
}

/** The names of the body's members, which the caller chose: only what looks like a field of ours, and not many. */
function fieldNames(body: unknown): string[] {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return [];
  const names = Object.keys(body).map((name) => (FIELD_NAME.test(name) ? name : '?'));
  return [...new Set(names)].slice(0, MAX_FIELDS);
}

/** What a proxy says may be anything. IPv4 as such where the socket is one of IPv6. */
function addressOf(ip: string): string | null {
  return isIP(ip) === 0 ? null : ip.replace(/^::ffff:(?=\d+\.)/i, '');
}

function userAgentOf({ headers }: FastifyRequest): string | null {
  return headers['user-agent']?.slice(0, MAX_USER_AGENT).replace(/[^\x20-\x7e]/g, '?') ?? null;
}
