import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiProblems } from '../http/api-docs.js';
import { AdminOnly } from '../http/auth.guard.js';
import { PageQuery } from '../http/paging.dto.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import { CreatedTenantResponse, CreateTenantDto, TenantPageResponse, TenantResponse } from './tenant.dto.js';
import { TenantService } from './tenant.service.js';

@ApiTags('Tenants')
@ApiProblems('unauthorized', 'forbidden', 'admin_key_not_configured')
@AdminOnly()
@Controller('tenants')
export class TenantController {
  constructor(private readonly tenants: TenantService) {}

  @Post()
  @ApiOperation({
    summary: 'Create a tenant',
    description:
      'Needs the admin key. Answers with the first API key of the tenant, which is shown only here: Posthorn keeps ' +
      'nothing but its hash.',
  })
  @ApiCreatedResponse({ type: CreatedTenantResponse })
  @ApiProblems('malformed_json', 'invalid_request')
  createTenant(@Body() { name }: CreateTenantDto): Promise<CreatedTenantResponse> {
    return this.tenants.create(name);
  }

  @Get()
  @ApiOperation({ summary: 'List tenants', description: 'Needs the admin key. Newest first.' })
  @ApiOkResponse({ type: TenantPageResponse })
  @ApiProblems('invalid_request')
  listTenants(@Query() query: PageQuery) {
    return this.tenants.list(query);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Get a tenant', description: 'Needs the admin key.' })
  @ApiOkResponse({ type: TenantResponse })
  @ApiProblems('not_found')
  getTenant(@Param('id', UuidParam) id: string): Promise<TenantResponse> {
    return this.tenants.get(id);
  }
}
