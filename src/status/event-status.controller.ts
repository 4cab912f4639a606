import { Controller, Get, Header, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { TenantId } from '../http/auth.guard.js';
import { JSON_CONTENT_TYPE } from '../http/raw-json.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import { EventStatusService } from './event-status.service.js';
import { EventDetailResponse, EventPageResponse, EventQuery, EventStatusResponse } from './status.dto.js';

@ApiTags('Events')
@Controller('events')
export class EventStatusController {
  constructor(private readonly events: EventStatusService) {}

  @Get()
  @ApiOperation({ summary: 'List events', description: 'Newest first.' })
  @ApiOkResponse({ type: EventPageResponse })
  @ApiProblems('invalid_request')
  listEvents(@TenantId() tenantId: string, @Query() query: EventQuery): Promise<EventPageResponse> {
    return this.events.list(tenantId, query);
  }

  @Get(':id')
  @Header('content-type', JSON_CONTENT_TYPE)
  @ApiOperation({
    summary: 'Get an event',
    description: 'With its payload, byte for byte as it was handed in.',
  })
  @ApiOkResponse({ type: EventDetailResponse })
  @ApiProblems('not_found')
  getEvent(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<Buffer> {
    return this.events.get(tenantId, id);
  }

  @Get(':id/status')
  @ApiOperation({
    summary: 'Get what became of an event',
    description: 'Its deliveries, counted by status and listed.',
  })
  @ApiOkResponse({ type: EventStatusResponse })
  @ApiProblems('not_found')
  getEventStatus(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
  ): Promise<EventStatusResponse> {
    return this.events.status(tenantId, id);
  }
}
