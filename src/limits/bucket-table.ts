import { type BoundedCache, boundedCache } from '../domain/bounded-cache.js';
import type { RateLimitRule, TokenBucket } from '../domain/token-bucket.js';

/** Some ten megabytes. */
const MAX_KEYS = 100_000;
/** How many of the buckets that were used longest ago are searched for a full one, which is as good as none. */
const CANDIDATES = 8;

/** Buckets by key, of a bounded number. */
export class BucketTable<Bucket extends TokenBucket> {
  private readonly buckets: BoundedCache<Bucket>;

  constructor(
    private readonly create: new (rule: RateLimitRule, nowMs: number) => Bucket,
    private readonly maxKeys = MAX_KEYS,
  ) {
    this.buckets = boundedCache(maxKeys);
  }

  /** The bucket of a key as it is now; a full one where none is known. */
  get(key: string, rule: RateLimitRule, nowMs: number): Bucket {
    const known = this.buckets.get(key);
    if (known) {
      known.refill(rule, nowMs);
      return known;
    }
    if (this.buckets.size >= this.maxKeys) this.evictFull(nowMs);
    const bucket = new this.create(rule, nowMs);
    this.buckets.set(key, bucket);
    return bucket;
  }

  /** If none of the candidates is full, the cache evicts the one that was used longest ago. */
  private evictFull(nowMs: number): void {
    let candidates = CANDIDATES;
    for (const key of this.buckets.rkeys()) {
      if (this.buckets.peek(key)?.isFull(nowMs)) {
        this.buckets.delete(key);
        return;
      }
      if (--candidates === 0) return;
    }
  }
}
