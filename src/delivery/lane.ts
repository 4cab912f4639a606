/** Requests in flight to a subscription that nothing is known about yet, and to one that does not answer. */
const FIRST_WINDOW = 16;
const LEAST_WINDOW = 4;

/**
 * One subscription's deliveries in this process. How many may be in flight follows how the target behaves: one more
 * after each success, half as many after each silence. So a dead target holds few connections of the worker.
 */
export class Lane {
  inFlight = 0;
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

  /** How many more deliveries may be in flight. */
  get room(): number {
    return this.window - this.inFlight;
  }

  /** Worth another claim: not for every single delivery that ends, but before the lane runs dry. */
  get wantsMore(): boolean {
    return this.hasMore && this.room * 2 >= this.window;
  }

  get isIdle(): boolean {
    return this.inFlight === 0 && !this.looking && !this.hasMore;
  }

  widen(): void {
    this.window = Math.min(this.window + 1, this.concurrency);
  }

  narrow(): void {
    this.window = Math.max(Math.floor(this.window / 2), Math.min(LEAST_WINDOW, this.concurrency));
  }
}
