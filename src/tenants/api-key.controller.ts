import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import {
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
import { KeyId, TenantId } from '../http/auth.guard.js';
import { Seed } from '../http/idempotency.js';
import { Located } from '../http/located.js';
import { PageQuery } from '../http/paging.dto.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import {
  ApiKeyPageResponse,
  ApiKeyResponse,
  CreateApiKeyDto,
  CreatedApiKeyResponse,
  RotateApiKeyDto,
} from './api-key.dto.js';
import { ApiKeyService } from './api-key.service.js';

@ApiTags('API keys')
@Scope('admin')
@Controller('api-keys')
export class ApiKeyController {
  constructor(private readonly keys: ApiKeyService) {}

  @Post()
  @Audited('api_key.create')
  @Located('api-keys/{id}')
  @ApiOperation({
    summary: 'Create an API key',
    description:
      'The answer holds the key, which is shown only here: Posthorn keeps nothing but its hash. It may not live ' +
      'longer than the key with which it is made. 409 when the tenant has as many as it may (`TENANT_MAX_API_KEYS`).',
  })
  @ApiCreatedResponse({ type: CreatedApiKeyResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'conflict')
  createApiKey(
    @TenantId() tenantId: string,
    @KeyId() maker: string,
    @Body() body: CreateApiKeyDto,
    @Seed() seed: CreationSeed,
  ): Promise<CreatedApiKeyResponse> {
    return this.keys.create(tenantId, body, maker, seed);
  }

  @Get()
  @ApiOperation({ summary: 'List API keys', description: 'Newest first; those that have expired as well.' })
  @ApiOkResponse({ type: ApiKeyPageResponse })
  @ApiProblems('invalid_request')
  listApiKeys(@TenantId() tenantId: string, @Query() query: PageQuery): Promise<ApiKeyPageResponse> {
    return this.keys.list(tenantId, query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Get an API key', description: 'What it may do, and when it was used last.' })
  @ApiOkResponse({ type: ApiKeyResponse })
  @ApiProblems('not_found')
  getApiKey(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<ApiKeyResponse> {
    return this.keys.get(tenantId, id);
  }

  @Post(':id/rotate')
  @Audited('api_key.rotate')
  @Located('api-keys/{id}')
  @ApiOperation({
    summary: 'Rotate an API key',
    description:
      'Makes a new key with the name, scopes and expiry of this one, which goes on working for `overlap_seconds` (a ' +
      'day unless given), so that its users can change over. 409 when it has expired, was rotated before, or the tenant has as many as it may; 422 when ' +
      'it lives longer than the key with which this is asked for.',
  })
  @ApiBody({ type: RotateApiKeyDto, required: false })
  @ApiCreatedResponse({ type: CreatedApiKeyResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict')
  rotateApiKey(
    @TenantId() tenantId: string,
    @KeyId() maker: string,
    @Param('id', UuidParam) id: string,
    @Body() { overlap_seconds }: RotateApiKeyDto,
    @Seed() seed: CreationSeed,
  ): Promise<CreatedApiKeyResponse> {
    return this.keys.rotate(tenantId, id, overlap_seconds, { maker, seed });
  }

  @Delete(':id')
  @Audited('api_key.revoke')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Revoke an API key',
    description: 'Every process refuses it within a second. A key may revoke itself.',
  })
  @ApiNoContentResponse()
  @ApiProblems('not_found')
  revokeApiKey(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<void> {
    return this.keys.revoke(tenantId, id);
  }
}
