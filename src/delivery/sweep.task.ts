import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import type { PeriodicTask } from '../schedule/periodic-task.js';
import { PeriodicTasks } from '../schedule/periodic-tasks.js';

/**
 * Notifies the lanes that have something due and no worker: after a crash, a lost notification, a Redis that lost its
 * data, a retry further ahead than notifications are kept. It is what makes Redis disposable.
 */
@Injectable()
export class SweepTask implements PeriodicTask {
  readonly name = 'sweep';
  readonly everyMs: number;
  /** The first one finds what an earlier process left unfinished. */
  readonly isNeededToBeReady = true;

  constructor(
    tasks: PeriodicTasks,
    private readonly lanes: LaneRepository,
    private readonly scheduler: LaneScheduler,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.everyMs = config.sweepIntervalMs;
    tasks.add(this);
  }

  async run(): Promise<void> {
    const due = await this.lanes.dueLanes(this.config.requiresVerification);
    await this.scheduler.wake(due);
    if (due.length > 0) this.logger.debug({ lanes: due.length }, 'sweep.woke');
  }
}
