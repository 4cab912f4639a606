import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import type { ClaimedDelivery } from '../domain/delivery.js';
import { Batcher } from '../persistence/batcher.js';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';

/** Lanes that one claim statement serves. */
const MAX_LANES_A_CLAIM = 100;
const MAX_RELEASES = 1_000;

interface ClaimRequest {
  subscriptionId: string;
  quota: number;
}

/** Claims and releases of many lanes, gathered into one statement each. */
@Injectable()
export class ClaimBatches {
  private readonly claims: Batcher<ClaimRequest, ClaimedDelivery[]>;
  private readonly releases: Batcher<ClaimedDelivery, undefined>;

  constructor(
    private readonly repository: LaneRepository,
    private readonly config: Config,
  ) {
    this.claims = new Batcher({
      flush: (requests) => this.claimAll(requests),
      maxWeight: MAX_LANES_A_CLAIM,
      lingerMs: 2,
    });
    this.releases = new Batcher({
      flush: (deliveries) => this.releaseAll(deliveries),
      maxWeight: MAX_RELEASES,
      lingerMs: 0,
    });
  }

  /** What is due in a lane, earliest first, at most `quota`. */
  claim(subscriptionId: string, quota: number): Promise<ClaimedDelivery[]> {
    return this.claims.add({ subscriptionId, quota });
  }

  /** Undoes the claim of a delivery that was not sent. */
  async release(delivery: ClaimedDelivery): Promise<void> {
    await this.releases.add(delivery);
  }

  private async claimAll(requests: ClaimRequest[]): Promise<ClaimedDelivery[][]> {
    const deliveries = await this.repository.claimDue(requests, this.config.leaseSeconds);
    const byLane = new Map<string, ClaimedDelivery[]>(
      requests.map(({ subscriptionId }) => [subscriptionId, []]),
    );
    for (const delivery of deliveries) byLane.get(delivery.subscriptionId)?.push(delivery);
    return requests.map(({ subscriptionId }) => byLane.get(subscriptionId) ?? []);
  }

  private async releaseAll(deliveries: ClaimedDelivery[]): Promise<undefined[]> {
    await this.repository.release(deliveries);
    return deliveries.map(() => undefined);
  }
}
