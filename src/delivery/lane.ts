import type { Pace } from './shared-room.js';

/** Requests open to a subscription that nothing is known about yet, and to one that does not answer. */
const FIRST_WINDOW = 2;
const LEAST_WINDOW = 1;
/** Deliveries claimed and not answered, for each request that may be open, while the target accepts everything. */
const CLAIMED_A_REQUEST = 4;
/** Deliveries in hand, for each request that may be open: those whose answers are being written down wait for nobody. */
const IN_HAND_A_REQUEST = 8;
/** Milliseconds that a lane waits when its destination has its share of requests, and the most after repeated tries. */
const FIRST_WAIT_MS = 250;
const MAX_WAIT_MS = 4_000;
/** An answer that takes so many milliseconds or more makes a lane a slow one, as no answer does. */
const SLOW_MS = 1_000;

/**
 * One subscription's deliveries in this process. How many requests may be open follows how the target behaves: one more
 * after each success, half as many after each silence. So a dead target holds few connections of the worker. Once the
 * window is fully open, more is claimed than may be sent at once, so that one claim serves many deliveries and is made
 * while others are being sent.
 */
export class Lane {
  /** Whose share of the worker it takes; empty as long as its subscription was never seen. */
  tenantId = '';
  /** Claimed and not answered yet. */
  claimed = 0;
  /** Claimed and not recorded yet. */
  inHand = 0;
  /** The last look left something behind that was due. */
  hasMore = false;
  /** As the last answer, or the time for which none came, told. */
  pace: Pace = 'untried';
  /** It has a rate limit: deliveries whose slots have passed while a target stalled must not leave in one burst. */
  isPaced = false;
  /** The look at it that is under way. */
  looking: Promise<void> | undefined;
  /** It was woken while being looked at. */
  lookAgain = false;
  private window: number;
  /** Times in a row that its destination had its share of requests. */
  private refusals = 0;
  /** Both on the monotonic clock, in milliseconds. */
  private refusedAt = -Infinity;
  private waitsUntil = 0;
  /** The target has accepted so many in a row that the window is as wide as it gets. */
  private isFlowing = false;
  private open = 0;
  private line: ((mayGo: boolean) => void)[] = [];

  constructor(
    readonly id: string,
    private readonly concurrency: number,
  ) {
    this.window = Math.min(FIRST_WINDOW, concurrency);
  }

  /** How many more deliveries may be claimed. */
  get room(): number {
    // After a refusal, one tries for all.
    const capacity = this.refusals > 0 ? 1 : this.capacity;
    return Math.min(capacity - this.claimed, this.window * IN_HAND_A_REQUEST - this.inHand);
  }

  /** Worth another claim: not for every single delivery that ends, but before the lane runs dry. */
  get wantsMore(): boolean {
    return this.hasMore && this.room * 2 >= this.capacity;
  }

  get isIdle(): boolean {
    return this.inHand === 0 && !this.looking && !this.hasMore;
  }

  /**
   * Waits until another request may be open.
   * @returns whether to send it, and {@link leave} afterwards; false for what was claimed in vain
   */
  async enter(): Promise<boolean> {
    if (this.open >= this.window) return new Promise((resolve) => this.line.push(resolve));
    this.open++;
    return true;
  }

  leave(): void {
    this.open--;
    while (this.open < this.window && this.line.length > 0) {
      this.open++;
      this.line.shift()?.(true);
    }
  }

  /** For how many milliseconds it claims nothing, since its destination has its share of requests. */
  get waitsMs(): number {
    return Math.max(this.waitsUntil - performance.now(), 0);
  }

  /**
   * Its destination takes no more right now. Each time in a row it waits twice as long.
   * @returns whether that is news
   */
  refused(retryInMs: number): boolean {
    if (this.waitsMs > 0) return false;
    const backoffMs = Math.min(FIRST_WAIT_MS * 2 ** this.refusals, MAX_WAIT_MS);
    this.refusedAt = performance.now();
    this.waitsUntil = this.refusedAt + Math.max(backoffMs, retryInMs);
    this.refusals++;
    this.dismiss();
    return true;
  }

  /** Its destination has taken a request: what began before the last refusal does not tell of what comes after it. */
  admitted(startedAt: number): void {
    if (startedAt > this.refusedAt) this.refusals = 0;
  }

  /** Sends away what waits to enter. */
  dismiss(): void {
    for (const tell of this.line.splice(0)) tell(false);
  }

  /** @returns what its pace was until now */
  timed(target: 'accepted' | 'answered' | 'silent', durationMs: number): Pace {
    const before = this.pace;
    this.pace = target !== 'silent' && durationMs < SLOW_MS ? 'quick' : 'slow';
    return before;
  }

  widen(): void {
    if (this.window < this.concurrency) this.window++;
    else this.isFlowing = true;
  }

  /** Not everything is accepted any more: no more is claimed ahead. */
  falter(): void {
    this.isFlowing = false;
  }

  /** What was claimed ahead of a target that fell silent is better given back than kept waiting for it. */
  narrow(): void {
    this.falter();
    this.window = Math.max(Math.floor(this.window / 2), LEAST_WINDOW);
    this.dismiss();
  }

  private get capacity(): number {
    return this.isFlowing && !this.isPaced ? this.window * CLAIMED_A_REQUEST : this.window;
  }
}
