import type { Subscription } from '../domain/subscription.js';
import { ConcurrencyWindow } from './concurrency-window.js';
import type { LatencyClass } from './latency-class.js';

/** Deliveries in flight, for each request that may be open: those whose results are being recorded delay no other. */
const IN_FLIGHT_A_REQUEST = 8;
/** Milliseconds that a lane waits when its destination takes no more requests, and the most after repeated tries. */
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 4_000;
/** An answer that takes so many milliseconds or more makes a lane a slow one, as no answer does. */
const SLOW_MS = 1_000;

/**
 * The queue of one subscription's deliveries, as this process works on it: what it has claimed, how many requests are
 * open, how its target behaves, and since when it waits. Only the lane changes these numbers.
 */
export class Lane {
  /** Its tenant's share of the worker is the one it takes from; empty as long as its subscription was never seen. */
  tenantId = '';
  /** The last poll left something behind that was due. */
  hasMore = false;
  /** By the last answer, or by the time for which none came. */
  latency: LatencyClass = 'unknown';
  /** The poll of it that is under way. */
  polling: Promise<void> | undefined;
  /** It was notified while being polled. */
  pollAgain = false;
  readonly window: ConcurrencyWindow;

  /** Claimed and not answered yet. */
  private claimed = 0;
  /** Claimed and not recorded yet. */
  private inFlight = 0;
  /** A rate limit gives out slots: deliveries whose slots passed while a target hung must not leave in one burst. */
  private isPaced = false;
  /** Times in a row that its destination took no request. */
  private refusals = 0;
  /** Both on the monotonic clock, in milliseconds. */
  private refusedAt = -Infinity;
  private waitsUntil = 0;

  constructor(
    readonly id: string,
    maxConcurrency: number,
  ) {
    this.window = new ConcurrencyWindow(maxConcurrency);
  }

  /** A poll begins, and nothing is known to be left behind. */
  pollBegins(subscription: Subscription | undefined): void {
    this.hasMore = false;
    this.isPaced = subscription?.limits.spacingMs != null;
    this.tenantId = subscription?.tenantId ?? this.tenantId;
  }

  /** How many more deliveries may be claimed. */
  get capacity(): number {
    // After a refusal of its destination, one tries for all.
    const claimable = this.refusals > 0 ? 1 : this.window.claimable(!this.isPaced);
    return Math.min(claimable - this.claimed, this.window.size * IN_FLIGHT_A_REQUEST - this.inFlight);
  }

  /** Worth another claim: not for every single delivery that ends, but before the lane runs dry. */
  get wantsMore(): boolean {
    return this.hasMore && this.waitsMs === 0 && this.capacity * 2 >= this.window.claimable(!this.isPaced);
  }

  get isIdle(): boolean {
    return this.inFlight === 0 && !this.polling && !this.hasMore;
  }

  /** So many may be claimed now; {@link unreserve} what was not. */
  reserve(count: number): void {
    this.claimed += count;
    this.inFlight += count;
  }

  /** Fewer were there to be claimed than reserved. */
  unreserve(count: number): void {
    this.claimed -= count;
    this.inFlight -= count;
  }

  /** The target is done with a delivery, or it was not sent; its result is not recorded yet. */
  answered(): void {
    this.claimed--;
  }

  /** A delivery is recorded, or released. */
  ended(): void {
    this.inFlight--;
  }

  /** For how many milliseconds it claims nothing. */
  get waitsMs(): number {
    return Math.max(this.waitsUntil - performance.now(), 0);
  }

  /**
   * Its destination takes no more right now. Each time in a row it waits twice as long, and `retryInMs` at least.
   * @returns whether it was not waiting already
   */
  backOff(retryInMs: number): boolean {
    if (this.waitsMs > 0) return false;
    const backoffMs = Math.min(FIRST_BACKOFF_MS * 2 ** this.refusals, MAX_BACKOFF_MS);
    this.refusedAt = performance.now();
    this.waitsUntil = this.refusedAt + Math.max(backoffMs, retryInMs);
    this.refusals++;
    this.window.rejectQueue();
    return true;
  }

  /**
   * Its destination has taken a request: one that began before the last refusal says nothing of what comes after it.
   * @param startedMs of the request, on the monotonic clock
   */
  admitted(startedMs: number): void {
    if (startedMs > this.refusedAt) this.refusals = 0;
  }

  /** @returns its latency class until now */
  measured(hasAnswered: boolean, durationMs: number): LatencyClass {
    const before = this.latency;
    this.latency = hasAnswered && durationMs < SLOW_MS ? 'fast' : 'slow';
    return before;
  }
}
