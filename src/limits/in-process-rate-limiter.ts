import { Injectable } from '@nestjs/common';
import { RateLimitDecision, RateLimitRule, TokenBucket } from '../domain/token-bucket.js';
import { BucketTable } from './bucket-table.js';
import { RateLimiter } from './rate-limiter.js';

/** For a single process without Redis. */
@Injectable()
export class InProcessRateLimiter extends RateLimiter {
  private readonly buckets = new BucketTable(TokenBucket);

  take(key: string, rule: RateLimitRule, cost: number, paid = 0): RateLimitDecision {
    return this.buckets.get(key, rule, performance.now()).take(cost, paid);
  }
}
