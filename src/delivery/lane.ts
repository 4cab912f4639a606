import type { Pace } from './shared-room.js';

/** Requests open to a subscription that nothing is known about yet, and to one that does not answer. */
const FIRST_WINDOW = 2;
const LEAST_WINDOW = 1;
/** Deliveries claimed and not answered, for each request that may be open, while the target accepts everything. */
const CLAIMED_A_REQUEST = 4;
/** Deliveries in hand, for each request that may be open: those whose answers are being written down wait for nobody. */
const IN_HAND_A_REQUEST = 8;
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
    return Math.min(this.capacity - this.claimed, this.window * IN_HAND_A_REQUEST - this.inHand);
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
