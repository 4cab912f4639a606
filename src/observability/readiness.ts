import { Injectable } from '@nestjs/common';

/** Whether this process may be sent traffic: not before its start-up work is done, and not once it is stopping. */
@Injectable()
export class Readiness {
  private readonly unfinished = new Set<string>();
  private stopping = false;

  /** What still has to happen; empty when ready. */
  get reasons(): string[] {
    return this.stopping ? ['stopping'] : [...this.unfinished];
  }

  /** Ready waits for `work`, under this name. Failing work keeps the process from becoming ready. */
  async waitFor(name: string, work: () => Promise<void>): Promise<void> {
    this.unfinished.add(name);
    await work();
    this.unfinished.delete(name);
  }

  stop(): void {
    this.stopping = true;
  }
}
