import { neededTokens, RateLimitDecision, RateLimitRule, TokenBucket } from '../domain/token-bucket.js';

/** Milliseconds. An answer of Redis that is older says nothing any more, and a lease is not used any more. */
const ANSWER_AGE_MS = 1_000;
/** A lease is no more than what flows in within 20 ms, and no more than a twentieth of the burst. */
const LEASES_A_SECOND = 50;
const LEASES_A_BURST = 20;

/** One request that waits for an answer of Redis. */
export interface Charge {
  cost: number;
  paid: number;
  decide: (decision: RateLimitDecision) => void;
}

/**
 * What a process knows of a bucket in Redis: how many tokens there were at the last answer, and its lease, which is
 * tokens taken from there ahead of the requests that will need them. Others may have taken some since then. Without
 * Redis it is the bucket.
 */
export class LeasedBucket extends TokenBucket {
  /** In the order in which they came. */
  readonly waiting: Charge[] = [];
  isAsking = false;
  /** Part of `tokens`. */
  private lease = 0;
  /** Tokens: at most so many have flowed into the bucket in Redis while the last answer was under way. */
  private unseen = 0;
  private answerUntilMs = -Infinity;

  override refill(rule: RateLimitRule, nowMs: number): void {
    // Given back, a lease from under another rule could fill a bucket that has been cut.
    if (!isSame(rule, this.rule)) this.forgetLease();
    super.refill(rule, nowMs);
  }

  /**
   * What can be decided without Redis: to admit from the lease, and to refuse while there is less than any request needs.
   * Other processes cannot have taken anything then since the last answer. Where they may have, this process cannot tell
   * when to come again.
   */
  decideNow(cost: number, paid: number): RateLimitDecision | undefined {
    if (this.atMs >= this.answerUntilMs) return undefined;
    if (this.lease >= cost) {
      this.lease -= cost;
      return this.spend(cost);
    }
    const isEmpty = this.tokens + this.unseen < neededTokens(this.rule, 1, 1);
    return isEmpty && !this.holds(cost, paid) ? this.refuse(cost, paid) : undefined;
  }

  /** A client that comes again may come to another process, which has no part in this lease. */
  override refuse(cost: number, paid: number): RateLimitDecision {
    return super.refuse(cost, paid, this.tokens - this.lease);
  }

  /**
   * What to ask Redis for beside the tokens that are needed: a new lease, none at low rates, which so are exact. What is
   * left of the old one goes back.
   */
  exchangeLease(): { rule: RateLimitRule; returned: number; lease: number } {
    const { rule, lease: returned } = this;
    this.lease = 0;
    const lease = Math.floor(Math.min(rule.perSecond / LEASES_A_SECOND, rule.burst / LEASES_A_BURST));
    return { rule, returned, lease };
  }

  /**
   * @param tokens that were left in Redis
   * @param lease what was taken from there beside
   * @param rule for which Redis was asked
   * @param askedAtMs when it was asked: its answer is as it stood between then and now
   */
  learn(
    { tokens, lease }: { tokens: number; lease: number },
    rule: RateLimitRule,
    askedAtMs: number,
    nowMs: number,
  ): void {
    this.tokens = tokens + lease;
    this.lease = lease;
    this.unseen = (rule.perSecond * (nowMs - askedAtMs)) / 1_000;
    this.atMs = nowMs;
    this.answerUntilMs = nowMs + ANSWER_AGE_MS;
    if (!isSame(rule, this.rule)) this.forgetLease();
  }

  private forgetLease(): void {
    this.tokens -= this.lease;
    this.lease = 0;
    this.answerUntilMs = -Infinity;
  }
}

function isSame(one: RateLimitRule, other: RateLimitRule): boolean {
  return one.perSecond === other.perSecond && one.burst === other.burst;
}
