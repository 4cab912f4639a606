import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Readiness } from '../observability/readiness.js';
import { Database } from '../persistence/database.js';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';

/**
 * Wakes the lanes that have something due with nobody at work: after a crash, a lost wake-up, a Redis that forgot
 * everything, a retry further ahead than wake-ups are kept. It is what makes Redis disposable.
 */
@Injectable()
export class SweepService implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private sweeping: Promise<void> | undefined;

  constructor(
    private readonly database: Database,
    private readonly lanes: LaneRepository,
    private readonly scheduler: LaneScheduler,
    private readonly registry: SchedulerRegistry,
    private readonly readiness: Readiness,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** The first sweep picks up what an earlier process left unfinished. */
  onApplicationBootstrap(): void {
    this.readiness.waitFor('first sweep', () => this.sweep());
    this.registry.addInterval(
      'sweep',
      setInterval(() => {
        this.sweeping ??= this.sweep()
          .catch((error: unknown) => this.logger.warn({ err: error }, 'sweep.failed'))
          .finally(() => (this.sweeping = undefined));
      }, this.config.sweepIntervalMs),
    );
  }

  async beforeApplicationShutdown(): Promise<void> {
    if (this.registry.doesExist('interval', 'sweep')) this.registry.deleteInterval('sweep');
    await this.sweeping;
  }

  private async sweep(): Promise<void> {
    await this.database.exclusively('sweep', async () => {
      const due = await this.lanes.dueLanes(this.config.requiresVerification);
      await this.scheduler.wake(due);
      if (due.length > 0) this.logger.debug({ lanes: due.length }, 'sweep.woke');
    });
  }
}
