import { Module } from '@nestjs/common';
import { CleanupService } from './cleanup.service.js';
import { CleanupTask } from './cleanup.task.js';
import { PartitionsTask } from './partitions.task.js';
import { TenantPurge } from './tenant-purge.js';
import { TenantRemovalTask } from './tenant-removal.task.js';

/** Retention, and the removal of deleted tenants: for the scheduler alone. */
@Module({ providers: [CleanupService, CleanupTask, PartitionsTask, TenantPurge, TenantRemovalTask] })
export class CleanupModule {}
