import { Global, Module } from '@nestjs/common';
import { ScheduleModule as NestScheduleModule } from '@nestjs/schedule';
import { PeriodicTasks } from './periodic-tasks.js';

/** Provides {@link PeriodicTasks} to every module. */
@Global()
@Module({ imports: [NestScheduleModule.forRoot()], providers: [PeriodicTasks], exports: [PeriodicTasks] })
export class ScheduleModule {}
