/** Requests open to a subscription about which nothing is known yet, and to one that does not answer. */
const FIRST_LIMIT = 2;
const LEAST_LIMIT = 1;
/** Deliveries claimed and not answered, for each request that may be open, while the target accepts everything. */
const CLAIMED_A_REQUEST = 4;

/**
 * How many requests may be open to one subscription: one more after each success, half as many after each time-out, so
 * that a dead target holds few connections of the worker. Once the limit has reached its maximum, more is claimed than
 * may be sent at once, so that one claim serves many deliveries and is made while others are being sent.
 */
export class ConcurrencyWindow {
  private limit: number;
  private open = 0;
  private queue: ((mayGo: boolean) => void)[] = [];
  /** The target has accepted so many in a row that the limit is as high as it gets. */
  private isFlowing = false;

  constructor(private readonly maximum: number) {
    this.limit = Math.min(FIRST_LIMIT, maximum);
  }

  /** Requests that may be open at once. */
  get size(): number {
    return this.limit;
  }

  /** Deliveries that may be claimed and not answered yet. @param mayClaimAhead not where a rate limit gives out slots */
  claimable(mayClaimAhead: boolean): number {
    return this.isFlowing && mayClaimAhead ? this.limit * CLAIMED_A_REQUEST : this.limit;
  }

  /**
   * Waits until another request may be open.
   * @returns true, and {@link leave} is to be called afterwards; false when it is not to be sent
   */
  async enter(): Promise<boolean> {
    if (this.open >= this.limit) return new Promise((resolve) => this.queue.push(resolve));
    this.open++;
    return true;
  }

  leave(): void {
    this.open--;
    while (this.open < this.limit && this.queue.length > 0) {
      this.open++;
      this.queue.shift()?.(true);
    }
  }

  onSuccess(): void {
    if (this.limit < this.maximum) this.limit++;
    else this.isFlowing = true;
  }

  /** The target does not accept everything any more: no more is claimed ahead. */
  onError(): void {
    this.isFlowing = false;
  }

  /** What was claimed ahead of a target that does not answer is better released than kept waiting for it. */
  onTimeout(): void {
    this.onError();
    this.limit = Math.max(Math.floor(this.limit / 2), LEAST_LIMIT);
    this.rejectQueue();
  }

  /** Answers all that wait to enter with false. */
  rejectQueue(): void {
    for (const tell of this.queue.splice(0)) tell(false);
  }
}
