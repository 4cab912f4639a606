import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsUUID } from 'class-validator';
import {
  AUDIT_ACTIONS,
  AUDIT_OBJECT_TYPES,
  type AuditAction,
  type AuditObjectType,
} from '../domain/audit-action.js';
import { IsTime } from '../http/is-time.js';
import { MayBeLeftOut } from '../http/may-be-left-out.js';
import { PageQuery, PageResponse } from '../http/paging.dto.js';
import { OneOf } from '../http/one-of.js';
import {
  ACTOR_KINDS,
  type ActorKind,
  type AuditFilter,
  AUDIT_RESULT_FILTERS,
  type AuditResultFilter,
  type AuditRow,
} from '../persistence/repositories/audit.repository.js';

export class AuditQuery extends PageQuery {
  @ApiPropertyOptional({ enum: AUDIT_ACTIONS, enumName: 'AuditAction', example: 'subscription.change' })
  @MayBeLeftOut()
  @OneOf(AUDIT_ACTIONS)
  action?: AuditAction;

  @ApiPropertyOptional({ enum: AUDIT_OBJECT_TYPES, enumName: 'AuditObjectType', example: 'subscription' })
  @MayBeLeftOut()
  @OneOf(AUDIT_OBJECT_TYPES)
  object_type?: AuditObjectType;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'What was done with this object, and what it came of.',
    example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be an id' })
  object_id?: string;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'What was done with this API key.',
    example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of an API key' })
  actor_id?: string;

  @ApiPropertyOptional({
    enum: ACTOR_KINDS,
    enumName: 'AuditActorKind',
    description: 'Who did it.',
    example: 'operator',
  })
  @MayBeLeftOut()
  @OneOf(ACTOR_KINDS)
  actor_kind?: ActorKind;

  @ApiPropertyOptional({
    enum: AUDIT_RESULT_FILTERS,
    enumName: 'AuditResultFilter',
    description: 'How it ended. `failed`: with any problem, so neither `ok` nor `begun`.',
    example: 'failed',
  })
  @MayBeLeftOut()
  @OneOf(AUDIT_RESULT_FILTERS, { rule: 'must be ok, begun, failed, or the code of a problem' })
  result?: AuditResultFilter;

  @ApiPropertyOptional({
    format: 'uuid',
    description: 'For an operator key: one tenant only.',
    example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a tenant' })
  tenant_id?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'At this time or later.',
    example: '2026-01-30T00:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Before this time.',
    example: '2026-01-31T00:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  to?: string;

  static toFilter(query: AuditQuery): AuditFilter {
    return {
      action: query.action,
      objectType: query.object_type,
      objectId: query.object_id,
      actorId: query.actor_id,
      actorKind: query.actor_kind,
      result: query.result,
      from: query.from ? new Date(query.from) : undefined,
      to: query.to ? new Date(query.to) : undefined,
    };
  }
}

export class AuditEntryResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0de-7a5e-7f00-9a1b-2c3d4e5f6071' })
  id!: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  at!: string;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: "Whose business it is; null for the operator's alone.",
    example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  })
  tenant_id!: string | null;

  @ApiProperty({
    enum: ACTOR_KINDS,
    enumName: 'AuditActorKind',
    description:
      "Who did it: one of the tenant's keys, who has an operator key, or Posthorn itself, without a request.",
    example: 'api_key',
  })
  actor_kind!: ActorKind;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'Which API key.',
    example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  })
  actor_id!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description:
      'What that key was called then. For the operator, the name of the operator key, which is hidden from tenants.',
    example: 'checkout service',
  })
  actor_name!: string | null;

  @ApiProperty({ enum: AUDIT_ACTIONS, enumName: 'AuditAction', example: 'subscription.change' })
  action!: AuditAction;

  @ApiProperty({ enum: AUDIT_OBJECT_TYPES, enumName: 'AuditObjectType', example: 'subscription' })
  object_type!: AuditObjectType;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'Null where it is about many, and where nothing was created.',
    example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5',
  })
  object_id!: string | null;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description:
      'What came of it, where that is another object: the new key of a rotation, the event of a test.',
    example: null,
  })
  new_id!: string | null;

  @ApiProperty({
    type: [String],
    description:
      'The fields that the request gave, without their values; `?` for names that are no field of any.',
    example: ['target_url'],
  })
  fields!: string[];

  @ApiProperty({
    type: Number,
    nullable: true,
    description:
      'The status of the answer; null while it is not known, and for what Posthorn does without a request.',
    example: 200,
  })
  status_code!: number | null;

  @ApiProperty({
    description:
      '`ok`, or the `code` of the problem it was answered with. `begun`: being done just now, or cut off in the ' +
      'middle, and then it may have been done or not; so it may with `internal` and `unavailable`.',
    example: 'ok',
  })
  result!: string;

  @ApiProperty({
    type: String,
    nullable: true,
    description: "Where it came from. Hidden from tenants where it is the operator's.",
    example: '192.0.2.17',
  })
  ip!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Likewise; the first 256 characters.',
    example: 'curl/8.5.0',
  })
  user_agent!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description:
      'The `X-Request-ID` of the answer; null for what Posthorn does without a request, and hidden from tenants in the same cases as the address.',
    example: 'req-8271',
  })
  request_id!: string | null;

  static from(row: AuditRow): AuditEntryResponse {
    return { ...row, at: row.at.toISOString() };
  }

  /** Where the operator sits is no tenant's business; nor who it is, which a proxy may write into request ids. */
  static forTenant(row: AuditRow): AuditEntryResponse {
    const entry = AuditEntryResponse.from(row);
    if (row.actor_kind !== 'operator') return entry;
    return { ...entry, actor_name: null, ip: null, user_agent: null, request_id: null };
  }
}

export class AuditPageResponse extends PageResponse {
  @ApiProperty({ type: [AuditEntryResponse] })
  data!: AuditEntryResponse[];
}
