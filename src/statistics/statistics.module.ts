import { Module } from '@nestjs/common';
import { StatisticsController } from './statistics.controller.js';
import { StatisticsFoldService } from './statistics-fold.service.js';
import { StatisticsService } from './statistics.service.js';

/** What dashboards show. */
@Module({ controllers: [StatisticsController], providers: [StatisticsService] })
export class StatisticsModule {}

/** Adds up what workers have counted: for the scheduler alone. Needs SchedulerRegistry from the application module. */
@Module({ providers: [StatisticsFoldService] })
export class StatisticsFoldModule {}
