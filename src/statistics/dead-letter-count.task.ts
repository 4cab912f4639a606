import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { StatisticsRepository } from '../persistence/repositories/statistics.repository.js';
import type { PeriodicTask } from '../schedule/periodic-task.js';
import { PeriodicTasks } from '../schedule/periodic-tasks.js';

/** Counts the dead letters of each tenant every minute, for the course of their number in the statistics. */
@Injectable()
export class DeadLetterCountTask implements PeriodicTask {
  readonly name = 'dead-letter-count';
  readonly everyMs: number;
  readonly onceEveryMs = 60_000;

  constructor(
    tasks: PeriodicTasks,
    config: Config,
    private readonly statistics: StatisticsRepository,
  ) {
    this.everyMs = Math.min(config.sweepIntervalMs, this.onceEveryMs);
    tasks.add(this);
  }

  async run(): Promise<void> {
    await this.statistics.sampleDeadLetters();
  }
}
