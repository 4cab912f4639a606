import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Put, Query } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import { CreationSeed } from '../domain/creation-seed.js';
import { Scope } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { Audited } from '../http/audit-trail.js';
import { CallerMay, TenantId } from '../http/auth.guard.js';
import { Seed } from '../http/idempotency.js';
import { Located } from '../http/located.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import {
  ChangedSubscriptionResponse,
  SecretResponse,
  SubscriptionPageResponse,
  SubscriptionResponse,
  SubscriptionWithSecretResponse,
} from './subscription-response.dto.js';
import {
  RotateSecretDto,
  SubscriptionDto,
  SubscriptionPatchDto,
  SubscriptionQuery,
} from './subscription.dto.js';
import { SubscriptionService } from './subscription.service.js';
import { VerificationService } from './verification.service.js';

const MASKED_HEADERS =
  'A key without the scope `subscriptions:write` or `admin` sees the names of its headers, and `***` for their values.';

@ApiTags('Subscriptions')
@Controller('subscriptions')
export class SubscriptionController {
  constructor(
    private readonly subscriptions: SubscriptionService,
    private readonly verification: VerificationService,
  ) {}

  @Post()
  @Audited('subscription.create')
  @Located('subscriptions/{id}')
  @Scope('subscriptions:write')
  @ApiOperation({
    summary: 'Create a subscription',
    description:
      'From now on, events that it wants are delivered to its target. The answer holds the secret.',
  })
  @ApiCreatedResponse({ type: SubscriptionWithSecretResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'conflict')
  createSubscription(
    @TenantId() tenantId: string,
    @Body() body: SubscriptionDto,
    @Seed() seed: CreationSeed,
  ): Promise<SubscriptionWithSecretResponse> {
    return this.subscriptions.create(tenantId, body, seed);
  }

  @Get()
  @ApiOperation({
    summary: 'List subscriptions',
    description: `Newest first, without their secrets. ${MASKED_HEADERS}`,
  })
  @ApiOkResponse({ type: SubscriptionPageResponse })
  @ApiProblems('invalid_request')
  listSubscriptions(
    @TenantId() tenantId: string,
    @CallerMay('subscriptions:write') showsHeaders: boolean,
    @Query() query: SubscriptionQuery,
  ) {
    return this.subscriptions.list(tenantId, query, { showsHeaders });
  }

  @Get(':id')
  @ApiOperation({ summary: 'Get a subscription', description: `Without its secret. ${MASKED_HEADERS}` })
  @ApiOkResponse({ type: SubscriptionResponse })
  @ApiProblems('not_found')
  getSubscription(
    @TenantId() tenantId: string,
    @CallerMay('subscriptions:write') showsHeaders: boolean,
    @Param('id', UuidParam) id: string,
  ): Promise<SubscriptionResponse> {
    return this.subscriptions.get(tenantId, id, { showsHeaders });
  }

  @Put(':id')
  @Audited('subscription.replace')
  @Scope('subscriptions:write')
  @ApiOperation({
    summary: 'Replace a subscription',
    description: 'Fields that are left out go back to their defaults; only the secret stays.',
  })
  @ApiOkResponse({ type: ChangedSubscriptionResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict')
  replaceSubscription(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
    @Body() body: SubscriptionDto,
  ): Promise<ChangedSubscriptionResponse> {
    return this.subscriptions.replace(tenantId, id, body);
  }

  @Patch(':id')
  @Audited('subscription.change')
  @Scope('subscriptions:write')
  @ApiOperation({
    summary: 'Change a subscription',
    description: 'Fields that are left out stay. `is_active: true` also clears `disabled_reason`.',
  })
  @ApiOkResponse({ type: ChangedSubscriptionResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict')
  updateSubscription(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
    @Body() body: SubscriptionPatchDto,
  ): Promise<ChangedSubscriptionResponse> {
    return this.subscriptions.patch(tenantId, id, body);
  }

  @Delete(':id')
  @Audited('subscription.delete')
  @Scope('subscriptions:write')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a subscription',
    description: 'Deliveries that are still open become dead letters with the reason `subscription_deleted`.',
  })
  @ApiNoContentResponse()
  @ApiProblems('not_found')
  deleteSubscription(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<void> {
    return this.subscriptions.delete(tenantId, id);
  }

  @Post(':id/verify')
  @Audited('subscription.verify')
  @Scope('subscriptions:write')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Ask the target of a subscription again whether it wants deliveries',
    description:
      'Where the operator requires it, a target gets deliveries once it has answered a challenge; `verification` tells. ' +
      'One that is verified, or need not be, is not asked. A tenant may send one destination ten challenges at once and ' +
      'one each two seconds; further ones wait, and `verification` is `pending` meanwhile.',
  })
  @ApiAcceptedResponse({ type: SubscriptionResponse })
  @ApiProblems('not_found')
  verifySubscription(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
  ): Promise<SubscriptionResponse> {
    return this.verification.verify(tenantId, id);
  }

  @Get(':id/secret')
  @Audited('subscription.read_secret')
  @Scope('subscriptions:write')
  @ApiOperation({
    summary: 'Get the secret of a subscription',
    description: 'And those before it, while they sign as well.',
  })
  @ApiOkResponse({ type: SecretResponse })
  @ApiProblems('not_found', 'secret_unreadable')
  getSubscriptionSecret(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
  ): Promise<SecretResponse> {
    return this.subscriptions.getSecret(tenantId, id);
  }

  @Post(':id/rotate-secret')
  @Audited('subscription.rotate_secret')
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Rotate the secret of a subscription',
    description:
      'Deliveries carry a signature of each secret until its overlap is over, so that the subscriber can change ' +
      'over without losing one. The answer holds the new secret. 409 while five secrets sign.',
  })
  @ApiBody({ type: RotateSecretDto, required: false })
  @ApiOkResponse({ type: SubscriptionWithSecretResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict', 'secret_unreadable')
  rotateSubscriptionSecret(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
    @Body() body: RotateSecretDto,
    @Seed() seed: CreationSeed,
  ): Promise<SubscriptionWithSecretResponse> {
    return this.subscriptions.rotateSecret(tenantId, id, body, seed);
  }
}
