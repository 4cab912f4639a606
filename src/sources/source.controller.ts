import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
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
import { TenantId } from '../http/auth.guard.js';
import { Seed } from '../http/idempotency.js';
import { Located } from '../http/located.js';
import { PageQuery } from '../http/paging.dto.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import { SourcePageResponse, SourceResponse, SourceWithSecretResponse } from './source-response.dto.js';
import { CreateSourceDto, RotateSourceSecretDto, SourcePatchDto } from './source.dto.js';
import { SourceService } from './source.service.js';

@ApiTags('Sources')
@Controller('sources')
export class SourceController {
  constructor(private readonly sources: SourceService) {}

  @Post()
  @Audited('source.create')
  @Located('sources/{id}')
  @Scope('subscriptions:write')
  @ApiOperation({
    summary: 'Create a source',
    description:
      'An address for the webhooks of a third party: what arrives at its `receive_url` and is signed as the provider does ' +
      'becomes an event. The answer holds the secret, which is never shown again.',
  })
  @ApiCreatedResponse({ type: SourceWithSecretResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'conflict')
  createSource(
    @TenantId() tenantId: string,
    @Body() body: CreateSourceDto,
    @Seed() seed: CreationSeed,
  ): Promise<SourceWithSecretResponse> {
    return this.sources.create(tenantId, body, seed);
  }

  @Get()
  @ApiOperation({ summary: 'List sources', description: 'Newest first, without their secrets.' })
  @ApiOkResponse({ type: SourcePageResponse })
  @ApiProblems('invalid_request')
  listSources(@TenantId() tenantId: string, @Query() query: PageQuery): Promise<SourcePageResponse> {
    return this.sources.list(tenantId, query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Get a source', description: 'Without its secret.' })
  @ApiOkResponse({ type: SourceResponse })
  @ApiProblems('not_found')
  getSource(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<SourceResponse> {
    return this.sources.get(tenantId, id);
  }

  @Patch(':id')
  @Audited('source.change')
  @Scope('subscriptions:write')
  @ApiOperation({
    summary: 'Change a source',
    description: 'Fields that are left out stay. `settings` takes the place of the old ones as a whole.',
  })
  @ApiOkResponse({ type: SourceResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found')
  updateSource(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
    @Body() body: SourcePatchDto,
  ): Promise<SourceResponse> {
    return this.sources.patch(tenantId, id, body);
  }

  @Delete(':id')
  @Audited('source.delete')
  @Scope('subscriptions:write')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a source',
    description: 'Its address is answered 404 from then on. Events that came through it stay.',
  })
  @ApiNoContentResponse()
  @ApiProblems('not_found')
  deleteSource(@TenantId() tenantId: string, @Param('id', UuidParam) id: string): Promise<void> {
    return this.sources.delete(tenantId, id);
  }

  @Post(':id/rotate-secret')
  @Audited('source.rotate_secret')
  @Scope('subscriptions:write')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Rotate the secret of a source',
    description:
      'Until the overlap is over, what is signed with any of them is taken, so that the provider can change over ' +
      'without losing a webhook. The answer holds the new secret. 409 while five secrets are taken.',
  })
  @ApiBody({ type: RotateSourceSecretDto, required: false })
  @ApiOkResponse({ type: SourceWithSecretResponse })
  @ApiProblems('malformed_json', 'invalid_request', 'not_found', 'conflict')
  rotateSourceSecret(
    @TenantId() tenantId: string,
    @Param('id', UuidParam) id: string,
    @Body() body: RotateSourceSecretDto,
    @Seed() seed: CreationSeed,
  ): Promise<SourceWithSecretResponse> {
    return this.sources.rotateSecret(tenantId, id, body, seed);
  }
}
