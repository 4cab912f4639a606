import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scope } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { NotAudited } from '../http/audit-trail.js';
import { RepeatIsHarmless } from '../http/idempotency.js';
import { TenantId } from '../http/auth.guard.js';
import { KeepsNothing } from '../http/json-body.js';
import { SearchWork } from '../http/tenant-turns.js';
import { SearchDto, SearchResponse } from './search.dto.js';
import { SearchService } from './search.service.js';

@ApiTags('Deliveries')
@Controller('webhooks/search')
export class SearchController {
  constructor(private readonly searches: SearchService) {}

  @Post()
  @Scope('read')
  @NotAudited('it only looks')
  @RepeatIsHarmless('it only looks')
  @KeepsNothing()
  @SearchWork()
  @HttpCode(200)
  @ApiOperation({
    summary: 'Search deliveries',
    description:
      'All fields may be left out; what is given must all hold. Newest event first. It answers within about a second: ' +
      'what was not found by then is found with `next_cursor`. Without a cursor it also counts the newest 10,000 that fit.',
  })
  @ApiOkResponse({ type: SearchResponse })
  @ApiProblems('invalid_request')
  searchDeliveries(@TenantId() tenantId: string, @Body() query: SearchDto): Promise<SearchResponse> {
    return this.searches.search(tenantId, query);
  }
}
