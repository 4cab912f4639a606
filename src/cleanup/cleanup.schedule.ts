import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import { LOGGER } from '../observability/logger.js';
import { Database } from '../persistence/database.js';
import { PurgeRepository } from '../persistence/repositories/purge.repository.js';
import { CleanupService } from './cleanup.service.js';

const TASK = 'cleanup';
/** How often it is asked whether the next run is due. */
const CHECK_MS = 60_000;

/**
 * When the cleanup runs: once an interval however many schedulers there are and however often they restart, since the
 * time of the last run is kept in Postgres.
 */
@Injectable()
export class CleanupSchedule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private checking: Promise<void> | undefined;

  constructor(
    private readonly cleanup: CleanupService,
    private readonly database: Database,
    private readonly purges: PurgeRepository,
    private readonly registry: SchedulerRegistry,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.preparePartitions();
    const timer = setInterval(
      () => {
        this.checking ??= this.check().finally(() => (this.checking = undefined));
      },
      Math.min(CHECK_MS, this.config.cleanupIntervalMs),
    );
    this.registry.addInterval(TASK, timer);
  }

  async beforeApplicationShutdown(): Promise<void> {
    if (this.registry.doesExist('interval', TASK)) this.registry.deleteInterval(TASK);
    this.cleanup.stop();
    await this.checking;
  }

  /**
   * Runs the cleanup unless any process began one within the interval, or is at it still.
   * @returns whether this process ran it
   */
  async runIfDue(): Promise<boolean> {
    let ran = false;
    await this.database.exclusively(TASK, async () => {
      if (!(await this.purges.beginRun(TASK, this.config.cleanupIntervalMs))) return;
      await this.cleanup.run(systemClock.now());
      ran = true;
    });
    return ran;
  }

  private async check(): Promise<void> {
    await this.preparePartitions();
    await this.runIfDue().catch((error: unknown) => this.logger.error({ err: error }, 'cleanup.failed'));
  }

  /** Failing is no disaster: there are days ahead, and after those the default partitions. */
  private async preparePartitions(): Promise<void> {
    await this.cleanup
      .preparePartitions(systemClock.now())
      .catch((error: unknown) => this.logger.warn({ err: error }, 'cleanup.partitions_failed'));
  }
}
