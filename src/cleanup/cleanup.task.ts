import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import type { PeriodicTask } from '../schedule/periodic-task.js';
import { PeriodicTasks } from '../schedule/periodic-tasks.js';
import { CleanupService } from './cleanup.service.js';

/** How often it is asked whether the next run is due. */
const CHECK_MS = 60_000;

/** Purges what has had its time, once every CLEANUP_INTERVAL_HOURS. */
@Injectable()
export class CleanupTask implements PeriodicTask {
  readonly name = 'cleanup';
  readonly everyMs: number;
  readonly onceEveryMs: number;

  constructor(
    tasks: PeriodicTasks,
    config: Config,
    private readonly cleanup: CleanupService,
  ) {
    this.onceEveryMs = config.cleanupIntervalMs;
    this.everyMs = Math.min(CHECK_MS, config.cleanupIntervalMs);
    tasks.add(this);
  }

  async run(stopping: AbortSignal): Promise<void> {
    await this.cleanup.run(systemClock.now(), stopping);
  }
}
