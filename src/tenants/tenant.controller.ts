import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import { CreationSeed } from '../domain/creation-seed.js';
import { AdminOnly } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { Audited } from '../http/audit-trail.js';
import { Seed } from '../http/idempotency.js';
import { Located } from '../http/located.js';
import { PageQuery } from '../http/paging.dto.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import { ApiKeyPageResponse, CreateApiKeyDto, CreatedApiKeyResponse } from './api-key.dto.js';
import {
  CreatedTenantResponse,
  CreateTenantDto,
  TenantPageResponse,
  TenantPatchDto,
  TenantResponse,
} from './tenant.dto.js';
import { TenantService } from './tenant.service.js';

@ApiTags('Tenants')
@AdminOnly()
@Controller('tenants')
export class TenantController {
  constructor(private readonly tenants: TenantService) {}

  @Post()
  @Audited('tenant.create')
  @Located('tenants/{id}')
  @ApiOperation({
    summary: 'Create a tenant',
    description:
      'Needs an operator key. Answers with the first API key of the tenant, which is shown only here: Posthorn keeps ' +
      'nothing but its hash.',
  })
  @ApiCreatedResponse({ type: CreatedTenantResponse })
  @ApiProblems('malformed_json', 'invalid_request')
  createTenant(@Body() body: CreateTenantDto, @Seed() seed: CreationSeed): Promise<CreatedTenantResponse> {
    return this.tenants.create(body, seed);
  }

  @Get()
  @ApiOperation({
    summary: 'List tenants',
    description: 'Needs an operator key. Newest first; those that are being deleted as well.',
  })
  @ApiOkResponse({ type: TenantPageResponse })
  @ApiProblems('invalid_request')
  listTenants(@Query() query: PageQuery) {
    return this.tenants.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Get a tenant', description: 'Needs an operator key.' })
  @ApiOkResponse({ type: TenantResponse })
  @ApiProblems('not_found')
  getTenant(@Param('id', UuidParam) id: string): Promise<TenantResponse> {
    return this.tenants.get(id);
  }

  @Patch(':id')
  @Audited('tenant.change')
  @ApiOperation({
    summary: 'Change a tenant',
    description:
      'Needs an operator key. Fields that are left out stay. `suspended: true` refuses its keys in every process within ' +
      'a second and holds its deliveries; `false` lets both go on. 409 while it is being deleted.',
  })
  @ApiOkResponse({ type: TenantResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict')
  updateTenant(@Param('id', UuidParam) id: string, @Body() body: TenantPatchDto): Promise<TenantResponse> {
    return this.tenants.change(id, body);
  }

  @Delete(':id')
  @Audited('tenant.delete')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Delete a tenant',
    description:
      'Needs an operator key. Its keys and subscriptions end at once; its events, deliveries, attempts and dead letters ' +
      'are deleted in the background, after which it is not found any more. Cannot be undone.',
  })
  @ApiAcceptedResponse({ type: TenantResponse })
  @ApiProblems('not_found')
  deleteTenant(@Param('id', UuidParam) id: string): Promise<TenantResponse> {
    return this.tenants.delete(id);
  }

  @Post(':id/api-keys')
  @Audited('api_key.create')
  @Located('tenants/{parent_id}/api-keys/{id}')
  @ApiOperation({
    summary: 'Create an API key for a tenant',
    description:
      'Needs an operator key. For a tenant that has lost its own: it manages its keys at /api-keys.',
  })
  @ApiCreatedResponse({ type: CreatedApiKeyResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict')
  createApiKeyOfTenant(
    @Param('id', UuidParam) id: string,
    @Body() body: CreateApiKeyDto,
    @Seed() seed: CreationSeed,
  ): Promise<CreatedApiKeyResponse> {
    return this.tenants.createApiKey(id, body, seed);
  }

  @Get(':id/api-keys')
  @ApiOperation({
    summary: 'List the API keys of a tenant',
    description: 'Needs an operator key. Newest first.',
  })
  @ApiOkResponse({ type: ApiKeyPageResponse })
  @ApiProblems('invalid_request', 'not_found')
  listApiKeysOfTenant(
    @Param('id', UuidParam) id: string,
    @Query() query: PageQuery,
  ): Promise<ApiKeyPageResponse> {
    return this.tenants.listApiKeys(id, query);
  }

  @Delete(':id/api-keys/:api_key_id')
  @Audited('api_key.revoke')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Revoke an API key of a tenant',
    description: 'Needs an operator key. Every process refuses it within a second.',
  })
  @ApiNoContentResponse()
  @ApiProblems('not_found')
  revokeApiKeyOfTenant(
    @Param('id', UuidParam) id: string,
    @Param('api_key_id', UuidParam) keyId: string,
  ): Promise<void> {
    return this.tenants.revokeApiKey(id, keyId);
  }
}
