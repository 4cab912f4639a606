/** A token bucket: so many tokens a second for good, and so many at once after a quiet time. */
export interface RateLimitRule {
  perSecond: number;
  /** At least 1. */
  burst: number;
}

/** Whether something was admitted, and how its bucket stands now. */
export interface RateLimitDecision {
  allowed: boolean;
  /** Whole tokens. */
  remaining: number;
  /** Whole seconds until the bucket is full again. */
  resetSeconds: number;
  /** Whole seconds after which the same would be admitted, if nothing else is taken; 0 when allowed, else 1 or more. */
  retryAfterSeconds: number;
}

/** Tokens. Sums of fractions miss whole numbers by less than this, and a refusal for that little would be wrong. */
const ROUNDING = 1e-6;

/** Tokens that flow in evenly and are taken by requests. It knows no clock: times are milliseconds of any one clock. */
export class TokenBucket {
  /** Below zero while a cost greater than the burst is being paid off. */
  protected tokens: number;

  /** Begins full. */
  constructor(
    protected rule: RateLimitRule,
    protected atMs: number,
  ) {
    this.tokens = rule.burst;
  }

  /** Lets in what has flowed since the last time. A rule that has changed holds at once: a lower burst spills. */
  refill(rule: RateLimitRule, nowMs: number): void {
    this.tokens = levelAt(this.tokens, rule, nowMs - this.atMs);
    this.atMs = nowMs;
    this.rule = rule;
  }

  /**
   * Takes `cost` tokens if they are there. A cost greater than the burst is admitted when the bucket is full and
   * leaves it in debt: it would otherwise be refused for ever, or cost less than it says.
   * @param paid what the same request has taken before
   */
  take(cost: number, paid = 0): RateLimitDecision {
    return this.holds(cost, paid) ? this.spend(cost) : this.refuse(cost, paid);
  }

  holds(cost: number, paid: number): boolean {
    return this.tokens + ROUNDING >= neededTokens(this.rule, cost, paid);
  }

  spend(cost: number): RateLimitDecision {
    this.tokens -= cost;
    return this.decision(true, 0);
  }

  /** @param available tokens that a repetition of the request will find, beside those that flow in until then */
  refuse(cost: number, paid: number, available = this.tokens): RateLimitDecision {
    // A client that comes again pays everything anew.
    const missing = neededTokens(this.rule, cost + paid, 0) - available;
    return this.decision(false, Math.max(1, this.secondsFor(missing)));
  }

  /** For what was taken in advance and turned out to cost nothing. */
  giveBack(cost: number): void {
    this.tokens = Math.min(this.rule.burst, this.tokens + cost);
  }

  isFull(nowMs: number): boolean {
    return levelAt(this.tokens, this.rule, nowMs - this.atMs) >= this.rule.burst;
  }

  private decision(allowed: boolean, retryAfterSeconds: number): RateLimitDecision {
    return {
      allowed,
      remaining: Math.max(0, Math.floor(this.tokens + ROUNDING)),
      resetSeconds: this.secondsFor(this.rule.burst - this.tokens),
      retryAfterSeconds,
    };
  }

  private secondsFor(tokens: number): number {
    return Math.ceil((tokens - ROUNDING) / this.rule.perSecond);
  }
}

/** How many tokens a bucket must hold for a request to take `cost`, when it has taken `paid` before. */
export function neededTokens({ burst }: RateLimitRule, cost: number, paid: number): number {
  return Math.min(cost + paid, burst) - paid;
}

function levelAt(tokens: number, { perSecond, burst }: RateLimitRule, elapsedMs: number): number {
  return Math.min(burst, tokens + (Math.max(0, elapsedMs) * perSecond) / 1_000);
}

/**
 * The fields of draft-ietf-httpapi-ratelimit-headers-11. `q` is the burst and `w` the seconds in which it flows in. `t`
 * is when the bucket is full again; in a refusal it is when to try again, since Retry-After should not be earlier.
 */
export function rateLimitHeaders(
  { allowed, remaining, resetSeconds, retryAfterSeconds }: RateLimitDecision,
  { perSecond, burst }: RateLimitRule,
): Record<string, string> {
  const windowSeconds = Math.max(1, Math.ceil(burst / perSecond));
  return {
    'ratelimit-policy': `"tenant";q=${burst};w=${windowSeconds}`,
    ratelimit: `"tenant";r=${remaining};t=${allowed ? resetSeconds : retryAfterSeconds}`,
  };
}
