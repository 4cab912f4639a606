import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { LOGGER } from './logger.js';

const RETRY_MS = 500;

/** Whether this process may be sent traffic: not before its start-up work is done, and not once it is stopping. */
@Injectable()
export class Readiness {
  private readonly unfinished = new Set<string>();
  private stopping = false;

  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  /** What still has to happen; empty when ready. */
  get reasons(): string[] {
    return this.stopping ? ['stopping'] : [...this.unfinished];
  }

  /** The process is not ready before `work` has succeeded; it is tried again until it does. */
  waitFor(name: string, work: () => Promise<void>): void {
    this.unfinished.add(name);
    void this.complete(name, work);
  }

  stop(): void {
    this.stopping = true;
  }

  private async complete(name: string, work: () => Promise<void>): Promise<void> {
    while (!this.stopping && this.unfinished.has(name)) {
      try {
        await work();
        this.unfinished.delete(name);
      } catch (error) {
        this.logger.warn({ err: error, work: name }, 'startup.retrying');
        await sleep(RETRY_MS, undefined, { ref: false });
      }
    }
  }
}
