import type { RateLimitRule, TokenBucket } from '../domain/token-bucket.js';

/** Some ten megabytes. */
const MAX_KEYS = 100_000;

/** Buckets by key, of a bounded number. */
export class BucketTable<Bucket extends TokenBucket> {
  private readonly buckets = new Map<string, Bucket>();

  constructor(private readonly create: new (rule: RateLimitRule, nowMs: number) => Bucket) {}

  /** The bucket of a key as it is now; a full one where none is known. */
  get(key: string, rule: RateLimitRule, nowMs: number): Bucket {
    const known = this.buckets.get(key);
    if (known) {
      known.refill(rule, nowMs);
      return known;
    }
    if (this.buckets.size >= MAX_KEYS) this.makeRoom(nowMs);
    const bucket = new this.create(rule, nowMs);
    this.buckets.set(key, bucket);
    return bucket;
  }

  /** A full bucket is as good as none. Where that is not enough the oldest go; half of them, to have done for long. */
  private makeRoom(nowMs: number): void {
    for (const [key, bucket] of this.buckets) if (bucket.isFull(nowMs)) this.buckets.delete(key);
    for (const key of this.buckets.keys()) {
      if (this.buckets.size <= MAX_KEYS / 2) break;
      this.buckets.delete(key);
    }
  }
}
