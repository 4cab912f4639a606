import type { RateLimitDecision, RateLimitRule } from '../domain/token-bucket.js';

/** A token bucket for each key, which the processes share as far as they can. */
export abstract class RateLimiter {
  /**
   * Takes tokens from the bucket of a key, which begins full. It never fails, and answers within about 100 ms.
   * @param rule what holds from now on, whatever held before
   * @param cost tokens: a whole number
   * @param paid tokens that the same request has taken before, when its whole cost shows only later
   * @returns a promise only where other processes have to be asked for
   */
  abstract take(
    key: string,
    rule: RateLimitRule,
    cost: number,
    paid?: number,
  ): RateLimitDecision | Promise<RateLimitDecision>;
}
