/** Work that schedulers repeat. A class with this shape hands itself to {@link PeriodicTasks.add}. */
export interface PeriodicTask {
  /** Names its lock in PostgreSQL, the label of its metrics and its lines in the log. */
  readonly name: string;
  /** Milliseconds from one start to the next in one process. */
  readonly everyMs: number;
  /** Least milliseconds from one start to the next in all processes together, restarts included. PostgreSQL keeps the time. */
  readonly onceEveryMs?: number;
  /** A process is not ready before it has tried the task, with success, once. */
  readonly isNeededToBeReady?: boolean;

  /**
   * One run. No other run of this task is under way, in any process. What it throws is logged, and the next run tries
   * again.
   * @param stopping aborted when the process stops, which then waits for the run to end: a long one ends early
   */
  run(stopping: AbortSignal): Promise<void>;
}
