import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { OperatorOr } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { type Caller, RequestCaller } from '../http/auth.guard.js';
import { AuditPageResponse, AuditQuery } from './audit.dto.js';
import { AuditService } from './audit.service.js';

@ApiTags('Audit log')
@Controller('audit')
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Get()
  @OperatorOr('admin')
  @ApiOperation({
    summary: 'List who did what',
    description:
      'Newest first: every request to a route with an `x-audit-action`, carried out or refused. Changes are in it, and ' +
      'that a secret was read; events handed in are not. So is what Posthorn did itself: `subscription.disable` after ' +
      'a 410 of the subscriber, `tenant.remove` when all of a deleted tenant is gone. A tenant sees what was done ' +
      'with its keys, and by the operator or Posthorn to it; an operator key sees everything.',
  })
  @ApiOkResponse({ type: AuditPageResponse })
  @ApiProblems('invalid_request')
  listAuditEntries(@RequestCaller() caller: Caller, @Query() query: AuditQuery): Promise<AuditPageResponse> {
    return this.audit.list(caller, query);
  }
}
