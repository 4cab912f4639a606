import { Inject, Injectable } from '@nestjs/common';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Batcher } from '../persistence/batcher.js';
import type { ClaimedDelivery } from '../domain/delivery.js';
import { LaneRepository, MAX_QUOTA } from '../persistence/repositories/lane.repository.js';
import type { Subscription } from '../domain/subscription.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { AttemptReport, AttemptService } from './attempt.service.js';
import { Lane } from './lane.js';
import { Loaded, PayloadLoader } from './payload-loader.js';
import { Grant, SharedRoom } from './shared-room.js';
import { TargetChallenge } from './target-challenge.js';

/** Lanes that one claim statement serves. */
const MAX_LANES_A_CLAIM = 100;
const MAX_RELEASES = 1_000;
/** Idle lanes are forgotten beyond this number, and with them how their target behaved. */
const MAX_IDLE_LANES = 20_000;

interface ClaimRequest {
  subscriptionId: string;
  quota: number;
}

/** What the deliveries of one claim have in common. */
interface Claim {
  subscription: Subscription | undefined;
  /** On the monotonic clock, in milliseconds. */
  leaseEndsAt: number;
  /** Of the room that they take. */
  grant: Grant;
}

/**
 * Serves the lanes that were woken in this process: claims what is due, hands it to {@link AttemptService}, and goes
 * on while a lane has more. Tenants share the worker's capacity, and the lanes of one in the order in which they ask.
 */
@Injectable()
export class LaneRunner {
  private readonly lanes = new Map<string, Lane>();
  /** For deliveries claimed and not recorded yet. */
  private readonly room: SharedRoom<Lane>;
  private readonly stopping = new AbortController();
  private readonly idle: (() => void)[] = [];
  private readonly claims: Batcher<ClaimRequest, ClaimedDelivery[]>;
  private readonly releases: Batcher<ClaimedDelivery, undefined>;

  constructor(
    private readonly repository: LaneRepository,
    private readonly subscriptions: SubscriptionCache,
    private readonly attempts: AttemptService,
    private readonly challenges: TargetChallenge,
    private readonly payloads: PayloadLoader,
    private readonly scheduler: LaneScheduler,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.room = new SharedRoom(config.workerCount, (lane) => lane.tenantId);
    // Every delivery that waits for its slot listens.
    setMaxListeners(0, this.stopping.signal);
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

  /**
   * Looks at each lane; resolves when that is done, while what was claimed is still being sent. Only lanes known as
   * quick are waited for, so that a full worker takes no more: others may have to wait for as long as a timeout.
   */
  async run(subscriptionIds: string[]): Promise<void> {
    const looks = subscriptionIds.map((id) => {
      const lane = this.lane(id);
      const looked = this.look(lane);
      return lane.pace === 'quick' ? looked : Promise.resolve();
    });
    await Promise.all(looks);
  }

  /**
   * Claims no more and waits for what is in flight; at the deadline the rest is cut off and due again at once.
   * Leaves nothing behind in memory alone.
   */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.room.close();
    this.payloads.close();
    for (const lane of this.lanes.values()) lane.dismiss();
    if (this.room.filled > 0) await this.drain();
    await this.attempts.close();
  }

  private async drain(): Promise<void> {
    const drained = new Promise<void>((resolve) => this.idle.push(resolve));
    const deadline = sleep(this.config.shutdownDeadlineMs, 'deadline', { ref: false });
    if ((await Promise.race([drained, deadline])) !== 'deadline') return;
    this.logger.warn({ in_hand: this.room.filled }, 'shutdown.deadline');
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
    lane.isPaced = subscription?.limits.spacingMs != null;
    lane.tenantId = subscription?.tenantId ?? lane.tenantId;
    if (lane.waitsMs > 0) {
      void this.scheduler.wake([lane.id], lane.waitsMs);
      return;
    }
    if (subscription?.awaitsChallenge) {
      await this.challenge(lane, subscription);
      return;
    }
    if (subscription?.pausedBy) return;
    const grant = await this.takeRoom(lane);
    const quota = grant.amount;
    if (quota === 0) return;
    let claimed = 0;
    try {
      const leaseEndsAt = performance.now() + this.config.leaseSeconds * 1000;
      const deliveries = await this.claimFor(lane, quota, subscription);
      claimed = deliveries.length;
      // Kept when it was set meanwhile: a place that became free during the claim was no place for it yet.
      lane.hasMore ||= claimed === quota;
      for (const delivery of deliveries) void this.send(lane, delivery, { subscription, leaseEndsAt, grant });
    } finally {
      lane.claimed -= quota - claimed;
      this.giveBack(lane, grant, quota - claimed);
      this.lookIfWanted(lane);
    }
  }

  /** Once that is done, another look sees what became of it. */
  private async challenge(lane: Lane, subscription: Subscription): Promise<void> {
    const retryInMs = await this.challenges.run(subscription, this.stopping.signal);
    if (retryInMs !== null) this.postpone(lane, retryInMs);
    else if (!this.stopping.signal.aborted) lane.lookAgain = true;
  }

  private async claimFor(
    lane: Lane,
    quota: number,
    subscription: Subscription | undefined,
  ): Promise<ClaimedDelivery[]> {
    const { limits } = subscription ?? {};
    if (!subscription || !limits || (limits.spacingMs === null && limits.maxConcurrency === null)) {
      return this.claims.add({ subscriptionId: lane.id, quota });
    }
    const claim = await this.repository.claimPaced(lane.id, quota, limits, this.config.leaseSeconds);
    if (claim === null) {
      // Deleted since it was cached: another look sees that.
      this.subscriptions.forget(subscription.tenantId);
      lane.lookAgain = true;
      return [];
    }
    if (claim.nextInMs !== null) void this.scheduler.wake([lane.id], claim.nextInMs);
    return claim.deliveries;
  }

  private async claim(requests: ClaimRequest[]): Promise<ClaimedDelivery[][]> {
    const deliveries = await this.repository.claimDue(requests, this.config.leaseSeconds);
    const byLane = new Map<string, ClaimedDelivery[]>(
      requests.map(({ subscriptionId }) => [subscriptionId, []]),
    );
    for (const delivery of deliveries) byLane.get(delivery.subscriptionId)?.push(delivery);
    return requests.map(({ subscriptionId }) => byLane.get(subscriptionId) ?? []);
  }

  private async release(deliveries: ClaimedDelivery[]): Promise<undefined[]> {
    await this.repository.release(deliveries);
    return deliveries.map(() => undefined);
  }

  private async send(lane: Lane, delivery: ClaimedDelivery, claim: Claim): Promise<void> {
    let entered = false;
    let end: 'recorded' | 'due again' | 'unread' = 'due again';
    const answered = once(() => {
      lane.claimed--;
      if (entered) lane.leave();
      this.lookIfWanted(lane);
    });
    try {
      const slotCame = await this.waitForSlot(delivery.sendAfterMs ?? 0);
      entered = slotCame && !this.stopping.signal.aborted && (await lane.enter());
      if (entered) end = await this.attempt(lane, delivery, claim, answered);
      if (end !== 'recorded') await this.releases.add(delivery);
    } catch (error) {
      this.logger.error({ err: error, delivery_id: delivery.id }, 'attempt.unrecorded');
    } finally {
      answered();
      this.giveBack(lane, claim.grant, 1);
      // With a concurrency limit, it is the record that frees a place. What cannot be read is left to the sweep.
      if (end === 'due again' || claim.subscription?.limits.maxConcurrency != null) lane.hasMore = true;
      this.lookIfWanted(lane);
    }
  }

  /** Sends it, unless it could not end within its lease, or its subscription was switched off meanwhile. */
  private async attempt(
    lane: Lane,
    delivery: ClaimedDelivery,
    { subscription, leaseEndsAt, grant }: Claim,
    answered: () => void,
  ): Promise<'recorded' | 'due again' | 'unread'> {
    let loaded: Loaded | null;
    try {
      loaded = await this.payloads.load(delivery, grant.pace);
    } catch (error) {
      this.logger.warn({ err: error, delivery_id: delivery.id }, 'payload.unread');
      return 'unread';
    }
    if (!loaded) return 'due again';
    try {
      const current = await this.reread(subscription);
      const mayEndInTime = performance.now() + (current?.timeoutMs ?? 0) < leaseEndsAt;
      if (!mayEndInTime || current?.pausedBy) return 'due again';
      const startedAt = performance.now();
      const report = await this.attempts.run(loaded.delivery, current, answered);
      if (report.kind === 'postponed') {
        this.postpone(lane, report.retryInMs);
        return 'due again';
      }
      if (report.target !== 'not called') lane.admitted(startedAt);
      this.learn(lane, report);
      return 'recorded';
    } finally {
      loaded.letGo();
    }
  }

  /** The lane's deliveries stay due, and none is claimed, until its destination may take requests again. */
  private postpone(lane: Lane, retryInMs: number): void {
    if (lane.refused(retryInMs)) void this.scheduler.wake([lane.id], lane.waitsMs);
  }

  /** It may have been switched off, changed or deleted since the claim. Without an answer, what was known holds. */
  private async reread(subscription: Subscription | undefined): Promise<Subscription | undefined> {
    if (!subscription) return undefined;
    return this.subscriptions.find(subscription.tenantId, subscription.id).catch(() => subscription);
  }

  private lookIfWanted(lane: Lane): void {
    if (lane.wantsMore && lane.waitsMs === 0 && !this.stopping.signal.aborted) void this.look(lane);
  }

  /** @returns whether to send now; false when the process stops before the slot has come */
  private async waitForSlot(ms: number): Promise<boolean> {
    if (ms <= 0) return true;
    return sleep(ms, true, { signal: this.stopping.signal }).catch(() => false);
  }

  private learn(lane: Lane, { target, durationMs, retryInMs }: AttemptReport): void {
    if (target !== 'not called') this.room.changePace(lane, lane.timed(target, durationMs), lane.pace);
    // Where nobody was called, there is nobody to be careful with.
    if (target === 'accepted' || target === 'not called') lane.widen();
    else lane.falter();
    if (target === 'silent') lane.narrow();
    if (retryInMs !== null) void this.scheduler.wake([lane.id], retryInMs);
  }

  /**
   * Waits while the worker is full, then reserves as much as the lane may have in flight.
   * @returns 0 when the lane itself is full (it is looked at again when one of its deliveries ends) or all stops
   */
  private takeRoom(lane: Lane): Promise<Grant> {
    return this.room.take(lane, lane.pace, (free) => {
      if (free <= 0) return null;
      const quota = Math.max(Math.min(lane.room, free, MAX_QUOTA), 0);
      lane.hasMore = quota === 0;
      lane.claimed += quota;
      lane.inHand += quota;
      return quota;
    });
  }

  private giveBack(lane: Lane, { tenant, pace }: Grant, count: number): void {
    lane.inHand -= count;
    this.room.giveBack({ tenant, pace, amount: count });
    if (this.room.filled === 0) for (const resolve of this.idle.splice(0)) resolve();
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
