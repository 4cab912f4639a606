import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { StatisticsRepository } from '../persistence/repositories/statistics.repository.js';
import type { PeriodicTask } from '../schedule/periodic-task.js';
import { PeriodicTasks } from '../schedule/periodic-tasks.js';

/** Each is a transaction of a second at the most. */
const DELTAS_A_STEP = 10_000;

/**
 * Adds up what workers have counted. What is not added up yet is read all the same, so a fold that is late makes
 * statistics slower, not wrong.
 */
@Injectable()
export class StatisticsFoldTask implements PeriodicTask {
  readonly name = 'statistics';
  readonly everyMs: number;

  constructor(
    tasks: PeriodicTasks,
    config: Config,
    private readonly statistics: StatisticsRepository,
  ) {
    this.everyMs = config.sweepIntervalMs;
    tasks.add(this);
  }

  async run(stopping: AbortSignal): Promise<void> {
    let taken: number;
    do taken = await this.statistics.fold(DELTAS_A_STEP);
    while (taken === DELTAS_A_STEP && !stopping.aborted);
  }
}
