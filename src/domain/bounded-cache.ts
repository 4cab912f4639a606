import { LRUCache } from 'lru-cache';

/** What is there and not undefined, which stands for what is not there. */
export type Present = object | string | number | boolean;
export type BoundedCache<Value extends Present> = LRUCache<string, Value>;

interface BoundedCacheOptions {
  /** Milliseconds after which an entry leaves memory, used or not. Give it for whatever holds a secret. */
  maxAgeMs?: number;
}

/** A cache of bounded size: beyond it, each new entry takes the place of the one that was used longest ago. */
export function boundedCache<Value extends Present>(
  maxEntries: number,
  { maxAgeMs = 0 }: BoundedCacheOptions = {},
): BoundedCache<Value> {
  return new LRUCache({
    // Not `max`, which takes memory for all entries at once.
    maxSize: maxEntries,
    sizeCalculation: () => 1,
    ttl: maxAgeMs,
    ttlAutopurge: maxAgeMs > 0,
    ttlResolution: 0,
    perf: { now: () => performance.now() },
  });
}
