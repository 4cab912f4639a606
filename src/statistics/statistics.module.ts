import { Module } from '@nestjs/common';
import { DeadLetterCountTask } from './dead-letter-count.task.js';
import { StatisticsController } from './statistics.controller.js';
import { StatisticsFoldTask } from './statistics-fold.task.js';
import { StatisticsService } from './statistics.service.js';

/** What dashboards show. */
@Module({ controllers: [StatisticsController], providers: [StatisticsService] })
export class StatisticsModule {}

/** Adds up what workers have counted: for the scheduler alone. */
@Module({ providers: [StatisticsFoldTask, DeadLetterCountTask] })
export class StatisticsFoldModule {}
