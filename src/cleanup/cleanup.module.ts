import { Module } from '@nestjs/common';
import { CleanupSchedule } from './cleanup.schedule.js';
import { CleanupService } from './cleanup.service.js';

/** Retention, for the scheduler alone. Needs SchedulerRegistry from the application module. */
@Module({ providers: [CleanupService, CleanupSchedule] })
export class CleanupModule {}
