import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scope } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { Audited } from '../http/audit-trail.js';
import { TenantId } from '../http/auth.guard.js';
import {
  DeliveryPageResponse,
  DeliveryResponse,
  DeliveryWithAttemptsResponse,
} from '../http/delivery.dto.js';
import { PageQuery } from '../http/paging.dto.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import { DeliveryStatusService } from './delivery-status.service.js';
import { DeliveryQuery } from './status.dto.js';

@ApiTags('Deliveries')
@Controller()
export class DeliveryStatusController {
  constructor(private readonly deliveries: DeliveryStatusService) {}

  @Get('deliveries')
  @ApiOperation({ summary: 'List deliveries', description: 'Newest event first.' })
  @ApiOkResponse({ type: DeliveryPageResponse })
  @ApiProblems('invalid_request')
  listDeliveries(@TenantId() tenantId: string, @Query() query: DeliveryQuery): Promise<DeliveryPageResponse> {
    return this.deliveries.list(tenantId, query);
  }

  @Get('status/delivery/:delivery_id')
  @ApiOperation({ summary: 'Get a delivery', description: 'With every attempt, the first one first.' })
  @ApiOkResponse({ type: DeliveryWithAttemptsResponse })
  @ApiProblems('not_found')
  getDelivery(
    @TenantId() tenantId: string,
    @Param('delivery_id', UuidParam) id: string,
  ): Promise<DeliveryWithAttemptsResponse> {
    return this.deliveries.get(tenantId, id);
  }

  @Get('status/subscription/:subscription_id')
  @ApiOperation({ summary: 'List the deliveries of a subscription', description: 'Newest event first.' })
  @ApiOkResponse({ type: DeliveryPageResponse })
  @ApiProblems('invalid_request', 'not_found')
  listDeliveriesOfSubscription(
    @TenantId() tenantId: string,
    @Param('subscription_id', UuidParam) id: string,
    @Query() query: PageQuery,
  ): Promise<DeliveryPageResponse> {
    return this.deliveries.listOfSubscription(tenantId, id, query);
  }

  @Post('deliveries/:id/retry')
  @Audited('delivery.retry')
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Retry a delivery',
    description:
      'One that has ended (dead, cancelled or delivered) is opened again with a fresh budget of attempts and keeps ' +
      'its history; one that waits is due now. While its subscription is switched off it waits until that is active ' +
      'again. 409 while it is being attempted, and when its subscription was deleted.',
  })
  @ApiOkResponse({ type: DeliveryResponse })
  @ApiProblems('not_found', 'conflict')
  retryDelivery(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<DeliveryResponse> {
    return this.deliveries.retry(tenantId, id);
  }

  @Post('deliveries/:id/cancel')
  @Audited('delivery.cancel')
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Cancel a delivery',
    description:
      'It will not be attempted any more. An attempt that is under way is not called back: its result is recorded, ' +
      'and changes nothing. 409 when the delivery has ended already.',
  })
  @ApiOkResponse({ type: DeliveryResponse })
  @ApiProblems('not_found', 'conflict')
  cancelDelivery(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
  ): Promise<DeliveryResponse> {
    return this.deliveries.cancel(tenantId, id);
  }
}
