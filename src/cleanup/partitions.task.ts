import { Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import type { Logger } from 'pino';
import { systemClock } from '../domain/clock.js';
import { LOGGER } from '../observability/logger.js';
import { PartitionRepository } from '../persistence/repositories/partition.repository.js';
import type { PeriodicTask } from '../schedule/periodic-task.js';
import { PeriodicTasks } from '../schedule/periodic-tasks.js';

/**
 * Makes the partitions of today and the days ahead. A failure is no disaster: there are days ahead, and after those the
 * default partitions.
 */
@Injectable()
export class PartitionsTask implements PeriodicTask, OnApplicationBootstrap {
  readonly name = 'partitions';
  readonly everyMs = 60_000;

  constructor(
    tasks: PeriodicTasks,
    private readonly partitions: PartitionRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    tasks.add(this);
  }

  run(): Promise<void> {
    return this.partitions.createAhead(systemClock.now());
  }

  /** Before the first event of a new installation, which would else be in the default partition. */
  async onApplicationBootstrap(): Promise<void> {
    await this.run().catch((error: unknown) =>
      this.logger.warn({ err: error, task: this.name }, 'task.failed'),
    );
  }
}
