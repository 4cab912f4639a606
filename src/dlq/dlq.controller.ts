import { Body, Controller, Delete, Get, Header, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scope } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { Audited } from '../http/audit-trail.js';
import { TenantId } from '../http/auth.guard.js';
import { DeliveryResponse } from '../http/delivery.dto.js';
import { JSON_CONTENT_TYPE } from '../http/raw-json.js';
import { BulkWork } from '../http/tenant-turns.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import {
  DeadLetterDetailResponse,
  DeadLetterChangeDto,
  DeadLetterPageResponse,
  DeadLetterQuery,
  MatchedResponse,
} from './dlq.dto.js';
import { DlqService } from './dlq.service.js';

@ApiTags('Dead letters')
@Controller('dlq')
export class DlqController {
  constructor(private readonly dlq: DlqService) {}

  @Get()
  @ApiOperation({
    summary: 'List dead letters',
    description:
      'Deliveries that will not be tried again by themselves, with the reason; the newest event first.',
  })
  @ApiOkResponse({ type: DeadLetterPageResponse })
  @ApiProblems('invalid_request')
  listDeadLetters(
    @TenantId() tenantId: string,
    @Query() query: DeadLetterQuery,
  ): Promise<DeadLetterPageResponse> {
    return this.dlq.list(tenantId, query);
  }

  @Post('retry')
  @Audited('dead_letters.retry')
  @BulkWork()
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Retry all dead letters that match',
    description:
      'Each one is opened again with a fresh budget of attempts and keeps its history. Those whose subscription was ' +
      'deleted stay as they are and are not counted. `{}` means all, and must be sent. The work is done in batches, and ' +
      'for ten seconds at most; `next_cursor` goes on with the rest.',
  })
  @ApiOkResponse({ type: MatchedResponse })
  @ApiProblems('malformed_json', 'invalid_request')
  retryDeadLetters(
    @TenantId() tenantId: string,
    @Body() filter: DeadLetterChangeDto,
  ): Promise<MatchedResponse> {
    return this.dlq.retryMatching(tenantId, filter);
  }

  @Post('discard')
  @Audited('dead_letters.discard')
  @BulkWork()
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Discard all dead letters that match',
    description:
      'Their deliveries become `cancelled`. `{}` means all, and must be sent. The work is done in batches, as for ' +
      'retry.',
  })
  @ApiOkResponse({ type: MatchedResponse })
  @ApiProblems('malformed_json', 'invalid_request')
  discardDeadLetters(
    @TenantId() tenantId: string,
    @Body() filter: DeadLetterChangeDto,
  ): Promise<MatchedResponse> {
    return this.dlq.discardMatching(tenantId, filter);
  }

  @Get(':id')
  @Header('content-type', JSON_CONTENT_TYPE)
  @ApiOperation({
    summary: 'Get a dead letter',
    description: 'With its attempts, and the payload byte for byte as it was handed in.',
  })
  @ApiOkResponse({ type: DeadLetterDetailResponse })
  @ApiProblems('not_found')
  getDeadLetter(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<Buffer> {
    return this.dlq.get(tenantId, id);
  }

  @Post(':id/retry')
  @Audited('dead_letter.retry')
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Retry a dead letter',
    description:
      'Opens the delivery again, due now, with a fresh budget of attempts; it keeps its history. While its ' +
      'subscription is switched off it waits. 409 when the subscription was deleted.',
  })
  @ApiOkResponse({ type: DeliveryResponse })
  @ApiProblems('not_found', 'conflict')
  retryDeadLetter(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
  ): Promise<DeliveryResponse> {
    return this.dlq.retry(tenantId, id);
  }

  @Delete(':id')
  @Audited('dead_letter.discard')
  @Scope('subscriptions:write')
  @HttpCode(204)
  @ApiOperation({ summary: 'Discard a dead letter', description: 'Its delivery becomes `cancelled`.' })
  @ApiNoContentResponse()
  @ApiProblems('not_found')
  discardDeadLetter(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<void> {
    return this.dlq.discard(tenantId, id);
  }
}
