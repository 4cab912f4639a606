import { Module } from '@nestjs/common';
import { CleanupSchedule } from './cleanup.schedule.js';
import { CleanupService } from './cleanup.service.js';
import { TenantPurge } from './tenant-purge.js';
import { TenantRemovalService } from './tenant-removal.service.js';

/** Retention, and what becomes of deleted tenants: for the scheduler alone. Needs SchedulerRegistry from the application module. */
@Module({ providers: [CleanupService, CleanupSchedule, TenantPurge, TenantRemovalService] })
export class CleanupModule {}
