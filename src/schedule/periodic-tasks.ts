import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Logger } from 'pino';
import { LOGGER } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import { Readiness } from '../observability/readiness.js';
import { Database } from '../persistence/database.js';
import { MaintenanceRunRepository } from '../persistence/repositories/maintenance-run.repository.js';
import type { PeriodicTask } from './periodic-task.js';

/**
 * Runs the {@link PeriodicTask}s of this process: each on its own timer, one run at a time over all processes, until
 * the process stops. A run is counted, timed and logged here, so that a task holds nothing but its work.
 */
@Injectable()
export class PeriodicTasks implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly tasks = new Map<string, PeriodicTask>();
  private readonly running = new Map<string, Promise<unknown>>();
  private readonly stopping = new AbortController();

  constructor(
    private readonly database: Database,
    private readonly runs: MaintenanceRunRepository,
    private readonly registry: SchedulerRegistry,
    private readonly readiness: Readiness,
    private readonly metrics: Metrics,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * To be called while the application is put together: in the constructor of the task.
   * @throws Error when another task has this name
   */
  add(task: PeriodicTask): void {
    if (this.tasks.has(task.name)) throw new Error(`There are two periodic tasks named "${task.name}"`);
    this.tasks.set(task.name, task);
  }

  onApplicationBootstrap(): void {
    for (const task of this.tasks.values()) {
      if (task.isNeededToBeReady) {
        this.readiness.waitFor(`first ${task.name}`, async () => {
          await this.run(task);
        });
      }
      this.registry.addInterval(
        task.name,
        setInterval(() => this.tick(task), task.everyMs),
      );
    }
  }

  /** Starts nothing more, and waits for what is running. */
  async beforeApplicationShutdown(): Promise<void> {
    for (const name of this.tasks.keys()) {
      if (this.registry.doesExist('interval', name)) this.registry.deleteInterval(name);
    }
    this.stopping.abort();
    await Promise.allSettled(this.running.values());
  }

  /**
   * Runs a task now, unless another process has it or it is not due.
   * @returns whether it ran
   * @throws what the task throws, and Error for a name that no task has
   */
  async runNow(name: string): Promise<boolean> {
    const task = this.tasks.get(name);
    if (!task) throw new Error(`There is no periodic task named "${name}"`);
    return this.run(task);
  }

  private tick(task: PeriodicTask): void {
    if (this.running.has(task.name)) return;
    const run = this.run(task)
      .catch((error: unknown) => this.logger.warn({ err: error, task: task.name }, 'task.failed'))
      .finally(() => this.running.delete(task.name));
    this.running.set(task.name, run);
  }

  private async run(task: PeriodicTask): Promise<boolean> {
    let ran = false;
    await this.database.exclusively(task.name, async () => {
      const { name, onceEveryMs } = task;
      if (onceEveryMs !== undefined && !(await this.runs.begin(name, onceEveryMs))) return;
      await this.timed(task);
      ran = true;
    });
    return ran;
  }

  private async timed(task: PeriodicTask): Promise<void> {
    const startedAt = performance.now();
    let result: 'succeeded' | 'failed' = 'failed';
    try {
      await task.run(this.stopping.signal);
      result = 'succeeded';
    } finally {
      const durationMs = performance.now() - startedAt;
      this.metrics.taskRan(task.name, result, durationMs);
      this.logger.debug({ task: task.name, result, duration_ms: Math.round(durationMs) }, 'task.ran');
    }
  }
}
