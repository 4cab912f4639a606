import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Batcher } from '../persistence/batcher.js';
import { ClaimedDelivery, LaneRepository } from '../persistence/repositories/lane.repository.js';
import { Subscription, SubscriptionCache } from '../persistence/subscription-cache.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { AttemptReport, AttemptService } from './attempt.service.js';
import { Lane } from './lane.js';

/** Lanes that one claim statement serves. */
const MAX_LANES_A_CLAIM = 100;
const MAX_RELEASES = 1_000;
/** Idle lanes are forgotten beyond this number, and with them how their target behaved. */
const MAX_IDLE_LANES = 20_000;

interface ClaimRequest {
  subscriptionId: string;
  quota: number;
}

/**
 * Serves the lanes that were woken in this process: claims what is due, hands it to {@link AttemptService}, and goes
 * on while a lane has more. Lanes share the worker's capacity in the order in which they ask for it.
 */
@Injectable()
export class LaneRunner {
  private readonly lanes = new Map<string, Lane>();
  /** Deliveries claimed and not recorded yet. */
  private inHand = 0;
  private stopping = new AbortController();
  /** Looks that wait for the worker to have capacity, first come first served. */
  private readonly queueForRoom: (() => void)[] = [];
  private readonly idle: (() => void)[] = [];
  private readonly claims: Batcher<ClaimRequest, ClaimedDelivery[]>;
  private readonly releases: Batcher<ClaimedDelivery, undefined>;

  constructor(
    private readonly repository: LaneRepository,
    private readonly subscriptions: SubscriptionCache,
    private readonly attempts: AttemptService,
    private readonly scheduler: LaneScheduler,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.claims = new Batcher({
      flush: (requests) => this.claim(requests),
      maxWeight: MAX_LANES_A_CLAIM,
      lingerMs: 2,
    });
    this.releases = new Batcher({
      flush: (deliveries) => this.release(deliveries),
      maxWeight: MAX_RELEASES,
      lingerMs: 0,
    });
  }

  /** Looks at each lane; resolves when that is done, while what was claimed is still being sent. */
  async run(subscriptionIds: string[]): Promise<void> {
    await Promise.all(subscriptionIds.map((id) => this.look(this.lane(id))));
  }

  /**
   * Claims no more and waits for what is in flight; at the deadline the rest is cut off and due again at once.
   * Leaves nothing behind in memory alone.
   */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const enter of this.queueForRoom.splice(0)) enter();
    for (const lane of this.lanes.values()) lane.dismiss();
    if (this.inHand > 0) await this.drain();
    await this.attempts.close();
  }

  private async drain(): Promise<void> {
    const drained = new Promise<void>((resolve) => this.idle.push(resolve));
    const deadline = sleep(this.config.shutdownDeadlineMs, 'deadline', { ref: false });
    if ((await Promise.race([drained, deadline])) !== 'deadline') return;
    this.logger.warn({ in_hand: this.inHand }, 'shutdown.deadline');
    await this.attempts.close();
    await drained;
  }

  private lane(id: string): Lane {
    let lane = this.lanes.get(id);
    if (!lane) {
      if (this.lanes.size >= MAX_IDLE_LANES) this.forgetIdleLanes();
      lane = new Lane(id, this.config.laneConcurrency);
      this.lanes.set(id, lane);
    }
    return lane;
  }

  /** One look at a time a lane; a wake-up during a look leads to another one after it. */
  private look(lane: Lane): Promise<void> {
    if (lane.looking) {
      lane.lookAgain = true;
      return lane.looking;
    }
    lane.looking = this.claimAndSend(lane)
      .catch((error: unknown) => {
        // The sweep will find the lane again.
        this.logger.warn({ err: error, subscription_id: lane.id }, 'claim.failed');
      })
      .finally(() => {
        lane.looking = undefined;
        if (!lane.lookAgain) return;
        lane.lookAgain = false;
        void this.look(lane);
      });
    return lane.looking;
  }

  private async claimAndSend(lane: Lane): Promise<void> {
    const subscription = await this.subscriptions.findLane(lane.id);
    lane.hasMore = false;
    if (subscription && !subscription.isActive) return;
    const quota = await this.takeRoom(lane);
    if (quota === 0) return;
    let claimed = 0;
    try {
      const leaseEndsAt = performance.now() + this.config.leaseSeconds * 1000;
      const deliveries = await this.claimFor(lane, quota, subscription);
      claimed = deliveries.length;
      lane.hasMore = claimed === quota;
      for (const delivery of deliveries) void this.send(lane, delivery, subscription, leaseEndsAt);
    } finally {
      lane.claimed -= quota - claimed;
      this.giveBack(lane, quota - claimed);
    }
  }

  private async claimFor(
    lane: Lane,
    quota: number,
    subscription: Subscription | undefined,
  ): Promise<(ClaimedDelivery & { send_after_ms?: number })[]> {
    const { rules } = subscription ?? {};
    if (!rules || (rules.spacingMs === null && rules.maxConcurrency === null)) {
      return this.claims.add({ subscriptionId: lane.id, quota });
    }
    const { deliveries, nextInMs } = await this.repository.claimPaced(
      lane.id,
      quota,
      rules,
      this.config.leaseSeconds,
    );
    if (nextInMs !== null) void this.scheduler.wake([lane.id], nextInMs);
    return deliveries;
  }

  private async claim(requests: ClaimRequest[]): Promise<ClaimedDelivery[][]> {
    const deliveries = await this.repository.claimDue(requests, this.config.leaseSeconds);
    const byLane = new Map<string, ClaimedDelivery[]>(
      requests.map(({ subscriptionId }) => [subscriptionId, []]),
    );
    for (const delivery of deliveries) byLane.get(delivery.subscription_id)?.push(delivery);
    return requests.map(({ subscriptionId }) => byLane.get(subscriptionId) ?? []);
  }

  private async release(deliveries: ClaimedDelivery[]): Promise<undefined[]> {
    await this.repository.release(deliveries);
    return deliveries.map(() => undefined);
  }

  private async send(
    lane: Lane,
    delivery: ClaimedDelivery & { send_after_ms?: number },
    subscription: Subscription | undefined,
    leaseEndsAt: number,
  ): Promise<void> {
    let entered = false;
    const answered = once(() => {
      lane.claimed--;
      if (entered) lane.leave();
      this.lookIfWanted(lane);
    });
    try {
      const slotCame = await this.waitForSlot(delivery.send_after_ms ?? 0);
      entered = slotCame && !this.stopping.signal.aborted && (await lane.enter());
      const current = await this.reread(subscription);
      const mayEndInTime = performance.now() + (current?.timeoutMs ?? 0) < leaseEndsAt;
      if (!entered || !mayEndInTime || current?.isActive === false) await this.releases.add(delivery);
      else this.learn(lane, await this.attempts.run(delivery, current, answered));
    } catch (error) {
      this.logger.error({ err: error, delivery_id: delivery.id }, 'attempt.unrecorded');
    } finally {
      answered();
      this.giveBack(lane, 1);
      // What was given back is due again; with a concurrency limit, it is the record that frees a place.
      if (!entered || subscription?.rules.maxConcurrency != null) lane.hasMore = true;
      this.lookIfWanted(lane);
    }
  }

  /** It may have been switched off, changed or deleted since the claim. Without an answer, what was known holds. */
  private async reread(subscription: Subscription | undefined): Promise<Subscription | undefined> {
    if (!subscription) return undefined;
    return this.subscriptions.find(subscription.tenantId, subscription.id).catch(() => subscription);
  }

  private lookIfWanted(lane: Lane): void {
    if (lane.wantsMore && !this.stopping.signal.aborted) void this.look(lane);
  }

  /** @returns whether to send now; false when the process stops before the slot has come */
  private async waitForSlot(ms: number): Promise<boolean> {
    if (ms <= 0) return true;
    return sleep(ms, true, { signal: this.stopping.signal }).catch(() => false);
  }

  private learn(lane: Lane, { target, retryInMs }: AttemptReport): void {
    if (target === 'accepted') lane.widen();
    if (target === 'silent') lane.narrow();
    if (retryInMs !== null) void this.scheduler.wake([lane.id], retryInMs);
  }

  /**
   * Waits while the worker is full, then reserves as much as the lane may have in flight.
   * @returns 0 when the lane itself is full (it is looked at again when one of its deliveries ends) or all stops
   */
  private async takeRoom(lane: Lane): Promise<number> {
    while (this.inHand >= this.config.workerCount && !this.stopping.signal.aborted) {
      await new Promise<void>((enter) => this.queueForRoom.push(enter));
    }
    // Nothing may be awaited from here to the reservation: the room would be given away twice.
    const quota = this.stopping.signal.aborted
      ? 0
      : Math.max(Math.min(lane.room, this.config.workerCount - this.inHand), 0);
    lane.hasMore = quota === 0;
    if (quota === 0) this.queueForRoom.shift()?.();
    lane.claimed += quota;
    lane.inHand += quota;
    this.inHand += quota;
    return quota;
  }

  private giveBack(lane: Lane, count: number): void {
    lane.inHand -= count;
    this.inHand -= count;
    for (let free = count; free > 0; free--) this.queueForRoom.shift()?.();
    if (this.inHand === 0) for (const resolve of this.idle.splice(0)) resolve();
  }

  private forgetIdleLanes(): void {
    for (const lane of this.lanes.values()) if (lane.isIdle) this.lanes.delete(lane.id);
  }
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
}
