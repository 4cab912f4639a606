import { Injectable } from '@nestjs/common';
import {
  type AuditAction,
  type AuditObjectType,
  objectTypeOf,
  type ServiceAction,
} from '../../domain/audit-action.js';
import { systemClock } from '../../domain/clock.js';
import { type ProblemCode, PROBLEMS } from '../../domain/errors.js';
import { uuidV7, uuidV7Floor } from '../../domain/uuid-v7.js';
import { Connection, Database } from '../database.js';
import { Page, PageRequest, toPage } from '../page.js';

export const ACTOR_KINDS = ['operator', 'api_key', 'service'] as const;

export type ActorKind = (typeof ACTOR_KINDS)[number];

/** What is known of an action before it is done. */
export interface AuditEntry {
  id: string;
  at: Date;
  tenantId: string | null;
  actorKind: ActorKind;
  actorId: string | null;
  /** Of an operator; that of an API key is looked up. */
  actorName: string | null;
  action: AuditAction;
  objectType: AuditObjectType;
  objectId: string | null;
  fields: string[];
  ip: string | null;
  userAgent: string | null;
  /** Null where there was no request. */
  requestId: string | null;
}

export type AuditResult = 'ok' | ProblemCode;

/** What is known of it when it was done. */
export interface AuditOutcome {
  /** Null where there was no request to answer. */
  statusCode: number | null;
  result: AuditResult;
  /** Where they were not known before. */
  tenantId?: string | undefined;
  objectId?: string | undefined;
  newId?: string | undefined;
}

export interface AuditRow {
  id: string;
  at: Date;
  tenant_id: string | null;
  actor_kind: ActorKind;
  actor_id: string | null;
  actor_name: string | null;
  action: AuditAction;
  object_type: AuditObjectType;
  object_id: string | null;
  new_id: string | null;
  fields: string[];
  status_code: number | null;
  result: AuditResult | 'begun';
  ip: string | null;
  user_agent: string | null;
  request_id: string | null;
}

/** How they ended; `failed` is whatever did not end with `ok`, nor is being done. */
export const AUDIT_RESULT_FILTERS = [
  'ok',
  'begun',
  'failed',
  ...(Object.keys(PROBLEMS) as ProblemCode[]),
] as const;

export type AuditResultFilter = (typeof AUDIT_RESULT_FILTERS)[number];

export interface AuditFilter {
  action?: AuditAction | undefined;
  objectType?: AuditObjectType | undefined;
  /** The object itself, or what came of the action. */
  objectId?: string | undefined;
  actorId?: string | undefined;
  actorKind?: ActorKind | undefined;
  result?: AuditResultFilter | undefined;
  /** At this time or later. */
  from?: Date | undefined;
  /** Before this time. */
  to?: Date | undefined;
}

const COLUMNS = `a.id, a.at, a.tenant_id, a.actor_kind, a.actor_id, a.actor_name, a.action, a.object_type, a.object_id,
  a.new_id, a.fields, a.status_code, a.result, a.ip, a.user_agent, a.request_id`;

/** Parameters $2 to $10; see {@link filterValues}. The time is in the ids, so it is a range of the index. */
const MATCHES = `
  ($2::uuid is null or a.id < $2) and ($3::uuid is null or a.id >= $3) and ($4::uuid is null or a.id < $4)
  and ($5::text is null or a.action = $5) and ($6::text is null or a.object_type = $6)
  and ($7::uuid is null or a.object_id = $7 or a.new_id = $7) and ($8::uuid is null or a.actor_id = $8)
  and ($9::text is null or a.actor_kind = $9)
  and ($10::text is null or a.result = $10 or ($10 = 'failed' and a.result not in ('ok', 'begun')))`;

@Injectable()
export class AuditRepository {
  constructor(private readonly database: Database) {}

  /** Written before the action; without an outcome it says `begun`, and goes on saying so if nothing ends it. */
  async insert(
    entry: AuditEntry,
    outcome?: Pick<AuditOutcome, 'statusCode' | 'result'>,
    connection: Connection = this.database,
  ): Promise<void> {
    await connection.run(
      `insert into audit_log (id, at, tenant_id, actor_kind, actor_id, actor_name, action, object_type, object_id,
         fields, ip, user_agent, request_id, status_code, result)
       values ($1, $2, $3, $4, $5, coalesce($15, (select k.name from api_key k where k.id = $5)), $6, $7, $8, $9,
         $10, $11, $12, $13, $14)
       /* all tenants: the key is the caller's own */`,
      [
        entry.id,
        entry.at,
        entry.tenantId,
        entry.actorKind,
        entry.actorId,
        entry.action,
        entry.objectType,
        entry.objectId,
        entry.fields,
        entry.ip,
        entry.userAgent,
        entry.requestId,
        outcome?.statusCode ?? null,
        outcome?.result ?? 'begun',
        entry.actorName,
      ],
    );
  }

  /** What Posthorn has done by itself to something of that tenant, or to the tenant. */
  async insertDone(
    action: ServiceAction,
    { tenantId, objectId }: { tenantId: string; objectId: string },
    connection?: Connection,
  ): Promise<void> {
    const now = systemClock.now();
    const entry: AuditEntry = {
      id: uuidV7(now),
      at: new Date(now),
      tenantId,
      actorKind: 'service',
      actorId: null,
      actorName: null,
      action,
      objectType: objectTypeOf(action),
      objectId,
      fields: [],
      ip: null,
      userAgent: null,
      requestId: null,
    };
    await this.insert(entry, { statusCode: null, result: 'ok' }, connection);
  }

  /** Ends an entry; only once. Uses audit_log_pkey. */
  async complete(id: string, { statusCode, result, tenantId, objectId, newId }: AuditOutcome): Promise<void> {
    await this.database.run(
      `update audit_log
       set status_code = $2, result = $3, tenant_id = coalesce(tenant_id, $4), object_id = coalesce(object_id, $5),
           new_id = $6
       where id = $1 and result = 'begun'
       /* all tenants: the entry was begun by the same request */`,
      [id, statusCode, result, tenantId ?? null, objectId ?? null, newId ?? null],
    );
  }

  /** What was done by a tenant or to it, newest first. Uses audit_log_by_tenant. */
  async list(tenantId: string, page: PageRequest, filter: AuditFilter): Promise<Page<AuditRow>> {
    const rows = await this.database.run<AuditRow>(
      `select ${COLUMNS} from audit_log a where a.tenant_id = $1 and ${MATCHES} order by a.id desc limit $11`,
      [tenantId, ...filterValues(page, filter), page.limit + 1],
    );
    return toPage(rows, page.limit);
  }

  /** Everything, for the operator, newest first. Uses audit_log_pkey. */
  async listAll(page: PageRequest, filter: AuditFilter): Promise<Page<AuditRow>> {
    const rows = await this.database.run<AuditRow>(
      `select ${COLUMNS} from audit_log a where ${MATCHES} order by a.id desc limit $1 /* all tenants: for the operator */`,
      [page.limit + 1, ...filterValues(page, filter)],
    );
    return toPage(rows, page.limit);
  }
}

function filterValues(
  { cursor }: PageRequest,
  { from, to, action, objectType, objectId, actorId, actorKind, result }: AuditFilter,
): unknown[] {
  const floor = (time: Date | undefined) => (time ? uuidV7Floor(Math.max(0, time.getTime())) : null);
  return [
    cursor,
    floor(from),
    floor(to),
    action ?? null,
    objectType ?? null,
    objectId ?? null,
    actorId ?? null,
    actorKind ?? null,
    result ?? null,
  ];
}
