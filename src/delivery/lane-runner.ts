import { Inject, Injectable } from '@nestjs/common';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import type { ClaimedDelivery } from '../domain/delivery.js';
import type { Subscription } from '../domain/subscription.js';
import { LOGGER } from '../observability/logger.js';
import { MAX_QUOTA } from '../persistence/repositories/lane.repository.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { AttemptPipeline } from './attempt/attempt-pipeline.js';
import type { Claim, Decided, Released } from './attempt/stages.js';
import { ClaimBatches } from './claim-batches.js';
import type { Permits } from './fair-semaphore.js';
import { Lane } from './lane.js';
import { LaneRegistry } from './lane-registry.js';
import { PayloadLoader } from './payload-loader.js';
import { LanePolicies } from './policies/lane-policies.js';
import { WorkerCapacity } from './worker-capacity.js';

/**
 * Polls the lanes that this process is notified of: claims what is due, hands each delivery to {@link AttemptPipeline},
 * and goes on while a lane has more. Tenants share the worker's capacity, and the lanes of one in the order in which
 * they ask. The rules of delivery are in {@link LanePolicies}.
 */
@Injectable()
export class LaneRunner {
  private readonly stopping = new AbortController();
  private readonly drained: (() => void)[] = [];

  constructor(
    private readonly lanes: LaneRegistry,
    private readonly policies: LanePolicies,
    private readonly capacity: WorkerCapacity,
    private readonly claims: ClaimBatches,
    private readonly attempts: AttemptPipeline,
    private readonly payloads: PayloadLoader,
    private readonly subscriptions: SubscriptionCache,
    private readonly scheduler: LaneScheduler,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    // Every delivery that waits for its slot listens.
    setMaxListeners(0, this.stopping.signal);
  }

  /**
   * Polls each lane; resolves when that is done, while what was claimed is still being sent. Only lanes known as fast
   * are waited for, so that a full worker takes no more: others may have to wait for as long as a time-out.
   */
  async run(subscriptionIds: string[]): Promise<void> {
    const polls = subscriptionIds.map((id) => {
      const lane = this.lanes.get(id);
      const polled = this.poll(lane);
      return lane.latency === 'fast' ? polled : Promise.resolve();
    });
    await Promise.all(polls);
  }

  /**
   * Claims no more and waits for what is in flight; at the deadline the rest is cut off and due again at once.
   * Leaves nothing behind in memory alone.
   */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.capacity.close();
    this.payloads.close();
    this.lanes.rejectQueues();
    if (this.capacity.inUse > 0) await this.drain();
    await this.attempts.close();
  }

  private async drain(): Promise<void> {
    const drained = new Promise<void>((resolve) => this.drained.push(resolve));
    const deadline = sleep(this.config.shutdownDeadlineMs, 'deadline', { ref: false });
    if ((await Promise.race([drained, deadline])) !== 'deadline') return;
    this.logger.warn({ in_flight: this.capacity.inUse }, 'shutdown.deadline');
    await this.attempts.close();
    await drained;
  }

  /** One poll at a time a lane; a notification during a poll leads to another one after it. */
  private poll(lane: Lane): Promise<void> {
    if (lane.polling) {
      lane.pollAgain = true;
      return lane.polling;
    }
    lane.polling = this.claimAndSend(lane)
      .catch((error: unknown) => {
        // The sweep will find the lane again.
        this.logger.warn({ err: error, subscription_id: lane.id }, 'claim.failed');
      })
      .finally(() => {
        lane.polling = undefined;
        if (!lane.pollAgain) return;
        lane.pollAgain = false;
        void this.poll(lane);
      });
    return lane.polling;
  }

  private async claimAndSend(lane: Lane): Promise<void> {
    const subscription = await this.subscriptions.findLane(lane.id);
    lane.pollBegins(subscription);
    if (lane.waitsMs > 0) {
      void this.scheduler.wake([lane.id], lane.waitsMs);
      return;
    }
    const hold = subscription && (await this.policies.mayClaim(lane, subscription, this.stopping.signal));
    if (hold) {
      if (hold.retryInMs !== null) this.postpone(lane, hold.retryInMs);
      return;
    }
    const permits = await this.reserve(lane);
    if (permits.amount > 0) await this.claimReserved(lane, subscription, permits);
  }

  private async claimReserved(
    lane: Lane,
    subscription: Subscription | undefined,
    permits: Permits,
  ): Promise<void> {
    const { amount: quota, latency } = permits;
    let claimed = 0;
    try {
      const leaseEndsAt = performance.now() + this.config.leaseSeconds * 1000;
      const deliveries = await this.claim(lane, quota, subscription);
      claimed = deliveries.length;
      // Kept when it was set meanwhile: a place that became free during the claim was no place for it yet.
      lane.hasMore ||= claimed === quota;
      const claim = { lane, subscription, leaseEndsAt, latency };
      for (const delivery of deliveries) void this.send(delivery, claim, permits);
    } finally {
      lane.unreserve(quota - claimed);
      this.release(permits, quota - claimed);
      this.pollIfWanted(lane);
    }
  }

  private claim(
    lane: Lane,
    quota: number,
    subscription: Subscription | undefined,
  ): Promise<ClaimedDelivery[]> {
    const special = subscription && this.policies.claim(lane, quota, subscription);
    return special ?? this.claims.claim(lane.id, quota);
  }

  /** One delivery from its claim to its record: waits for its slot and for an open request, then makes the attempt. */
  private async send(delivery: ClaimedDelivery, claim: Claim, permits: Permits): Promise<void> {
    const { lane } = claim;
    let sent: Decided | Released | { stage: 'unreadable' | 'failed' } = { stage: 'failed' };
    try {
      sent = await this.sendInTurn(delivery, claim);
    } catch (error) {
      this.logger.error({ err: error, delivery_id: delivery.id }, 'attempt.failed');
    }
    lane.answered();
    this.pollIfWanted(lane);
    try {
      if (sent.stage === 'decided') await this.conclude(lane, sent);
      else if (sent.stage === 'released') await this.giveUp(lane, delivery, sent);
    } catch (error) {
      this.logger.error({ err: error, delivery_id: delivery.id }, 'attempt.unrecorded');
    } finally {
      lane.ended();
      this.release(permits, 1);
      if (sent.stage === 'released') lane.hasMore = true;
      this.pollIfWanted(lane);
    }
  }

  private async sendInTurn(delivery: ClaimedDelivery, claim: Claim) {
    const { window } = claim.lane;
    const notNow: Released = { stage: 'released', hold: null };
    if (!(await this.slotCame(delivery.sendAfterMs ?? 0)) || this.stopping.signal.aborted) return notNow;
    if (!(await window.enter())) return notNow;
    try {
      return await this.attempts.send(delivery, claim);
    } finally {
      window.leave();
    }
  }

  private async conclude(lane: Lane, decided: Decided): Promise<void> {
    const report = await this.attempts.record(decided);
    if (report.retryInMs !== null) void this.scheduler.wake([lane.id], report.retryInMs);
    await this.policies.onResult(lane, decided.subscription, report);
  }

  private async giveUp(lane: Lane, delivery: ClaimedDelivery, { hold }: Released): Promise<void> {
    if (hold && hold.retryInMs !== null) this.postpone(lane, hold.retryInMs);
    await this.claims.release(delivery);
  }

  /** The lane's deliveries stay due, and none is claimed, until it is worth asking again. */
  private postpone(lane: Lane, retryInMs: number): void {
    if (lane.backOff(retryInMs)) void this.scheduler.wake([lane.id], lane.waitsMs);
  }

  private pollIfWanted(lane: Lane): void {
    if (lane.wantsMore && !this.stopping.signal.aborted) void this.poll(lane);
  }

  /** @returns whether to send now; false when the process stops before the slot has come */
  private async slotCame(inMs: number): Promise<boolean> {
    if (inMs <= 0) return true;
    return sleep(inMs, true, { signal: this.stopping.signal }).catch(() => false);
  }

  /**
   * Waits while the worker is full, then reserves as much as the lane may have in flight.
   * @returns an amount of 0 when the lane itself is full (it is polled again when one of its deliveries ends) or all stops
   */
  private reserve(lane: Lane): Promise<Permits> {
    return this.capacity.acquire(lane, lane.latency, (free) => {
      if (free <= 0) return null;
      const quota = Math.max(Math.min(this.policies.maxClaim(lane), free, MAX_QUOTA), 0);
      lane.hasMore = quota === 0;
      lane.reserve(quota);
      return quota;
    });
  }

  private release({ tenant, latency }: Permits, amount: number): void {
    this.capacity.release({ tenant, latency, amount });
    if (this.capacity.inUse === 0) for (const resolve of this.drained.splice(0)) resolve();
  }
}
