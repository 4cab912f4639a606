/** Requests open to a subscription that nothing is known about yet, and to one that does not answer. */
const FIRST_WINDOW = 16;
const LEAST_WINDOW = 4;
/** Deliveries in hand, for each request that may be open: those whose answers are being written down wait for nobody. */
const IN_HAND_A_REQUEST = 4;

/**
 * One subscription's deliveries in this process. How many requests may be open follows how the target behaves: one more
 * after each success, half as many after each silence. So a dead target holds few connections of the worker.
 */
export class Lane {
  /** Claimed and not answered yet. */
  sending = 0;
  /** Claimed and not recorded yet. */
  inHand = 0;
  /** The last look left something behind that was due. */
  hasMore = false;
  /** The look at it that is under way. */
  looking: Promise<void> | undefined;
  /** It was woken while being looked at. */
  lookAgain = false;
  private window: number;

  constructor(
    readonly id: string,
    private readonly concurrency: number,
  ) {
    this.window = Math.min(FIRST_WINDOW, concurrency);
  }

  /** How many more deliveries may be claimed. */
  get room(): number {
    return Math.min(this.window - this.sending, this.window * IN_HAND_A_REQUEST - this.inHand);
  }

  /** Worth another claim: not for every single delivery that ends, but before the lane runs dry. */
  get wantsMore(): boolean {
    return this.hasMore && this.room * 2 >= this.window;
  }

  get isIdle(): boolean {
    return this.inHand === 0 && !this.looking && !this.hasMore;
  }

  widen(): void {
    this.window = Math.min(this.window + 1, this.concurrency);
  }

  narrow(): void {
    this.window = Math.max(Math.floor(this.window / 2), Math.min(LEAST_WINDOW, this.concurrency));
  }
}
