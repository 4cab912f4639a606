import { Module } from '@nestjs/common';
import { ApiKeyController } from './api-key.controller.js';
import { ApiKeyService } from './api-key.service.js';
import { TenantController } from './tenant.controller.js';
import { TenantService } from './tenant.service.js';

/** Who may use the service: tenants, managed with an operator key, and their API keys, managed by themselves. */
@Module({
  controllers: [TenantController, ApiKeyController],
  providers: [TenantService, ApiKeyService],
  exports: [TenantService],
})
export class TenantModule {}
