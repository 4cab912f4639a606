import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scope } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { TenantId } from '../http/auth.guard.js';
import {
  StatisticsQuery,
  StatisticsResponse,
  SubscriptionStatisticsQuery,
  SubscriptionStatisticsResponse,
} from './statistics.dto.js';
import { StatisticsService } from './statistics.service.js';

@ApiTags('Statistics')
@Scope('read')
@Controller('stats')
export class StatisticsController {
  constructor(private readonly statistics: StatisticsService) {}

  @Get()
  @ApiOperation({
    summary: 'Get statistics',
    description:
      'Attempts, their results and how long they took, and dead letters, of all subscriptions or of one: in total and ' +
      'by minute, hour or day (UTC). Counted in the transaction that records an attempt, so right to the last one. ' +
      'The numbers of a deleted subscription stay. Every interval is there, also where nothing happened; 1,500 are the ' +
      'most. Minutes are kept as long as events, hours for 90 days unless configured otherwise: before that there are ' +
      'zeros.',
  })
  @ApiOkResponse({ type: StatisticsResponse })
  @ApiProblems('invalid_request')
  getStatistics(@TenantId() tenantId: string, @Query() query: StatisticsQuery): Promise<StatisticsResponse> {
    return this.statistics.get(tenantId, query);
  }

  @Get('subscriptions')
  @ApiOperation({
    summary: 'Get statistics by subscription',
    description: 'The 100 subscriptions with the most failed attempts, the worst first, in whole hours.',
  })
  @ApiOkResponse({ type: SubscriptionStatisticsResponse })
  @ApiProblems('invalid_request')
  getStatisticsBySubscription(
    @TenantId() tenantId: string,
    @Query() query: SubscriptionStatisticsQuery,
  ): Promise<SubscriptionStatisticsResponse> {
    return this.statistics.bySubscription(tenantId, query);
  }
}
