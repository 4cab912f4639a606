import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Database } from '../persistence/database.js';
import { PurgeRepository } from '../persistence/repositories/purge.repository.js';
import { StatisticsRepository } from '../persistence/repositories/statistics.repository.js';

const TASK = 'statistics';
const SAMPLE_TASK = 'dead-letter-count';
/** Each is a transaction of a second at the most. */
const DELTAS_A_STEP = 10_000;
const SAMPLE_MS = 60_000;

/**
 * Adds up what workers have counted, in one process at a time, and counts dead letters every minute. What is not added up
 * yet is read all the same, so a fold that is late makes statistics slower, not wrong.
 */
@Injectable()
export class StatisticsFoldService implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private running: Promise<void> | undefined;
  private stopping = false;

  constructor(
    private readonly database: Database,
    private readonly statistics: StatisticsRepository,
    private readonly runs: PurgeRepository,
    private readonly registry: SchedulerRegistry,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    const timer = setInterval(() => {
      this.running ??= this.run()
        .catch((error: unknown) => this.logger.warn({ err: error }, 'statistics.fold_failed'))
        .finally(() => (this.running = undefined));
    }, this.config.sweepIntervalMs);
    this.registry.addInterval(TASK, timer);
  }

  async beforeApplicationShutdown(): Promise<void> {
    if (this.registry.doesExist('interval', TASK)) this.registry.deleteInterval(TASK);
    this.stopping = true;
    await this.running;
  }

  private async run(): Promise<void> {
    await this.database.exclusively(TASK, async () => {
      let taken: number;
      do taken = await this.statistics.fold(DELTAS_A_STEP);
      while (taken === DELTAS_A_STEP && !this.stopping);
      if (await this.runs.beginRun(SAMPLE_TASK, SAMPLE_MS)) await this.statistics.sampleDeadLetters();
    });
  }
}
