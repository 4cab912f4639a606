import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Batcher } from '../persistence/batcher.js';
import { isTemporary } from '../persistence/database.js';
import type { AttemptResult } from '../domain/attempt.js';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';

const MAX_RESULTS_A_COMMIT = 500;
const LINGER_MS = 5;
const RETRY_MS = 200;

/** Writes results in batches, patiently: what a subscriber has answered must not be lost to a Postgres restart. */
@Injectable()
export class ResultWriter {
  private readonly batcher: Batcher<AttemptResult, boolean>;

  constructor(
    private readonly lanes: LaneRepository,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.batcher = new Batcher({
      flush: (results) => this.write(results),
      maxWeight: MAX_RESULTS_A_COMMIT,
      lingerMs: LINGER_MS,
    });
  }

  /**
   * @returns whether the delivery took the new status; false if it was cancelled or claimed anew meanwhile
   * @throws when Postgres stayed away for as long as a lease: then the delivery is attempted again
   */
  record(result: AttemptResult): Promise<boolean> {
    return this.batcher.add(result);
  }

  private async write(results: AttemptResult[]): Promise<(boolean | Error)[]> {
    try {
      const changed = await this.patiently(results);
      return results.map(({ deliveryId }) => changed.has(deliveryId));
    } catch (error) {
      if (isTemporary(error)) throw error;
      this.logger.warn({ err: error, results: results.length }, 'results.refused');
      return this.writeOneByOne(results);
    }
  }

  /** One result that Postgres will not take must not spoil the others: it is kept without the response. */
  private async writeOneByOne(results: AttemptResult[]): Promise<(boolean | Error)[]> {
    const outcomes: (boolean | Error)[] = [];
    for (const result of results) {
      const bare = { ...result, responseHeaders: null, responseBody: null };
      outcomes.push(
        await this.patiently([result])
          .catch((error: unknown) =>
            isTemporary(error) ? Promise.reject(error as Error) : this.patiently([bare]),
          )
          .then((changed) => changed.has(result.deliveryId))
          .catch((error: unknown) => error as Error),
      );
    }
    return outcomes;
  }

  /** Tries again while PostgreSQL does not answer, for as long as a lease. */
  private async patiently(results: AttemptResult[]): Promise<Set<string>> {
    const giveUpAt = Date.now() + this.config.leaseSeconds * 1000;
    for (;;) {
      try {
        return await this.lanes.record(results);
      } catch (error) {
        if (!isTemporary(error) || Date.now() > giveUpAt) throw error;
        await sleep(RETRY_MS);
      }
    }
  }
}
