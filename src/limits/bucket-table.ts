import type { RateLimitRule, TokenBucket } from '../domain/token-bucket.js';

/** Some ten megabytes. */
const MAX_KEYS = 100_000;
/** How many of the buckets that were used longest ago are searched for a full one, which is as good as none. */
const CANDIDATES = 8;

/** Buckets by key, of a bounded number. */
export class BucketTable<Bucket extends TokenBucket> {
  /** In the order of their last use, oldest first. */
  private readonly buckets = new Map<string, Bucket>();

  constructor(
    private readonly create: new (rule: RateLimitRule, nowMs: number) => Bucket,
    private readonly maxKeys = MAX_KEYS,
  ) {}

  /** The bucket of a key as it is now; a full one where none is known. */
  get(key: string, rule: RateLimitRule, nowMs: number): Bucket {
    const known = this.buckets.get(key);
    if (known) {
      known.refill(rule, nowMs);
      this.buckets.delete(key);
    } else if (this.buckets.size >= this.maxKeys) this.evictOne(nowMs);
    const bucket = known ?? new this.create(rule, nowMs);
    this.buckets.set(key, bucket);
    return bucket;
  }

  private evictOne(nowMs: number): void {
    let evicted: string | undefined;
    let seen = 0;
    for (const [key, bucket] of this.buckets) {
      if (bucket.isFull(nowMs)) {
        evicted = key;
        break;
      }
      evicted ??= key;
      if (++seen === CANDIDATES) break;
    }
    if (evicted !== undefined) this.buckets.delete(evicted);
  }
}
