import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Batcher } from '../persistence/batcher.js';
import { isTemporary, isDataError } from '../persistence/database.js';
import { AttemptResult, LaneRepository } from '../persistence/repositories/lane.repository.js';

const MAX_RESULTS_A_COMMIT = 500;
const LINGER_MS = 2;
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
      maxItems: MAX_RESULTS_A_COMMIT,
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

  private async write(results: AttemptResult[]): Promise<boolean[]> {
    const giveUpAt = Date.now() + this.config.leaseSeconds * 1000;
    for (;;) {
      try {
        const changed = await this.lanes.record(results);
        return results.map(({ deliveryId }) => changed.has(deliveryId));
      } catch (error) {
        if (isDataError(error)) return this.writeOneByOne(results, error);
        if (!isTemporary(error) || Date.now() > giveUpAt) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  /** One result that Postgres will not take must not spoil the others: it is kept without the response. */
  private async writeOneByOne(results: AttemptResult[], cause: unknown): Promise<boolean[]> {
    this.logger.warn({ err: cause, results: results.length }, 'results.refused');
    const changed: boolean[] = [];
    for (const result of results) {
      const ids = await this.lanes
        .record([result])
        .catch(() => this.lanes.record([{ ...result, responseHeaders: null, responseBody: null }]));
      changed.push(ids.has(result.deliveryId));
    }
    return changed;
  }
}
