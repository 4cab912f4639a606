import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rateLimitHeaders, RateLimitRule, TokenBucket } from '../../../src/domain/token-bucket.js';

const START_MS = 1_000_000;

/** A bucket that was emptied at START_MS. */
function emptied(rule: RateLimitRule): TokenBucket {
  const bucket = new TokenBucket(rule, START_MS);
  bucket.take(rule.burst);
  return bucket;
}

function takeAt(bucket: TokenBucket, rule: RateLimitRule, afterMs: number, cost: number, paid = 0) {
  bucket.refill(rule, START_MS + afterMs);
  return bucket.take(cost, paid);
}

describe('TokenBucket', () => {
  const rule = { perSecond: 10, burst: 5 };

  it('admits the burst at once, and says what is left', () => {
    const bucket = new TokenBucket(rule, START_MS);
    const decisions = Array.from({ length: 6 }, () => takeAt(bucket, rule, 0, 1));
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, true, true, true, true, false]);
    expect(decisions.map(({ remaining }) => remaining)).toEqual([4, 3, 2, 1, 0, 0]);
    expect(decisions.map(({ resetSeconds }) => resetSeconds)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(decisions.map(({ retryAfterSeconds }) => retryAfterSeconds)).toEqual([0, 0, 0, 0, 0, 1]);
  });

  it.each<[cost: number, afterMs: number, allowed: boolean]>([
    [1, 99, false],
    [1, 100, true],
    [2, 199, false],
    [2, 200, true],
    [5, 499, false],
    [5, 500, true],
    // More than the burst: when the bucket is full.
    [1_000, 499, false],
    [1_000, 500, true],
  ])('%i tokens at 10 a second, %i ms after it was empty: %s', (cost, afterMs, allowed) => {
    expect(takeAt(emptied(rule), rule, afterMs, cost).allowed).toBe(allowed);
  });

  it.each<[RateLimitRule, cost: number, seconds: number]>([
    [{ perSecond: 1_000, burst: 5 }, 1, 1],
    [{ perSecond: 1, burst: 5 }, 1, 1],
    [{ perSecond: 1, burst: 5 }, 5, 5],
    [{ perSecond: 1, burst: 5 }, 1_000, 5],
    [{ perSecond: 0.01, burst: 1 }, 1, 100],
    [{ perSecond: 0.3, burst: 10 }, 3, 10],
    [{ perSecond: 3, burst: 10 }, 4, 2],
  ])('%o refuses %i, and says to come again in %i s', (rule, cost, seconds) => {
    expect(emptied(rule).take(cost).retryAfterSeconds).toBe(seconds);
  });

  it('is in debt after a cost greater than the burst, until as many have flowed in', () => {
    const bucket = new TokenBucket(rule, START_MS);
    expect(takeAt(bucket, rule, 0, 25)).toEqual({
      allowed: true,
      remaining: 0,
      resetSeconds: 3,
      retryAfterSeconds: 0,
    });
    expect(takeAt(bucket, rule, 2_099, 1)).toMatchObject({ allowed: false, retryAfterSeconds: 1 });
    expect(takeAt(bucket, rule, 2_100, 1).allowed).toBe(true);
  });

  it('charges the rest of a cost as if all of it had been asked for at once', () => {
    const bucket = new TokenBucket(rule, START_MS);
    expect(takeAt(bucket, rule, 0, 1).allowed).toBe(true);
    expect(takeAt(bucket, rule, 0, 24, 1)).toMatchObject({ allowed: true, resetSeconds: 3 });
    expect(takeAt(bucket, rule, 2_100, 1).allowed).toBe(true);
    expect(takeAt(bucket, rule, 2_100, 2, 1)).toMatchObject({ allowed: false, retryAfterSeconds: 1 });
  });

  it('spills when the burst is lowered, and does not fill at once when it is raised', () => {
    const bucket = new TokenBucket({ perSecond: 1, burst: 100 }, START_MS);
    expect(takeAt(bucket, { perSecond: 1, burst: 10 }, 0, 1).remaining).toBe(9);
    expect(takeAt(bucket, { perSecond: 1, burst: 100 }, 0, 1).remaining).toBe(8);
  });

  it('takes a clock that goes back for one that stands still', () => {
    const bucket = emptied(rule);
    expect(takeAt(bucket, rule, -60_000, 1).allowed).toBe(false);
    expect(takeAt(bucket, rule, -59_900, 1).allowed).toBe(true);
  });

  it.each([
    [499, false],
    [500, true],
  ])('is full again, %i ms after it was empty: %s', (afterMs, full) => {
    expect(emptied(rule).isFull(START_MS + afterMs)).toBe(full);
  });

  const rules = fc.record({
    perSecond: fc.double({ min: 0.01, max: 10_000, noNaN: true }),
    burst: fc.integer({ min: 1, max: 1_000 }),
  });
  const arrivals = fc.array(
    fc.record({
      waitMs: fc.double({ min: 0, max: 2_000, noNaN: true }),
      cost: fc.integer({ min: 1, max: 1_500 }),
    }),
    { maxLength: 60 },
  );

  it('admits in no stretch of time more than the burst and what flows in meanwhile', () => {
    fc.assert(
      fc.property(rules, arrivals, (rule, arrivals) => {
        const bucket = new TokenBucket(rule, START_MS);
        const admitted: { atMs: number; cost: number }[] = [];
        let atMs = 0;
        for (const { waitMs, cost } of arrivals) {
          atMs += waitMs;
          if (takeAt(bucket, rule, atMs, cost).allowed) admitted.push({ atMs, cost });
        }
        for (let from = 0; from < admitted.length; from++) {
          let sum = 0;
          for (const { atMs, cost } of admitted.slice(from)) {
            // The last one may be greater than the burst; it is paid off before anything else.
            const most = rule.burst + (rule.perSecond * (atMs - admitted[from]!.atMs)) / 1_000;
            expect(sum + Math.min(cost, rule.burst)).toBeLessThanOrEqual(most + 1e-5);
            sum += cost;
          }
        }
      }),
    );
  });

  it('admits whoever comes again when it was told to', () => {
    fc.assert(
      fc.property(rules, arrivals, (rule, arrivals) => {
        const bucket = new TokenBucket(rule, START_MS);
        let atMs = 0;
        for (const { waitMs, cost } of arrivals) {
          atMs += waitMs;
          const decision = takeAt(bucket, rule, atMs, cost);
          if (decision.allowed) continue;
          atMs += decision.retryAfterSeconds * 1_000;
          expect(takeAt(bucket, rule, atMs, cost).allowed).toBe(true);
        }
      }),
    );
  });

  it('admits a cost in two parts when it was told to come again', () => {
    fc.assert(
      fc.property(
        rules,
        fc.integer({ min: 2, max: 1_500 }),
        fc.integer({ min: 0, max: 999 }),
        (rule, cost, taken) => {
          const bucket = new TokenBucket(rule, START_MS);
          takeAt(bucket, rule, 0, Math.min(taken, rule.burst));
          const first = takeAt(bucket, rule, 0, 1);
          const second = first.allowed ? takeAt(bucket, rule, 0, cost - 1, 1) : first;
          if (second.allowed) return;
          // The first part was refused before anybody knew of the second one.
          const again = first.allowed
            ? second
            : { retryAfterSeconds: Math.ceil(rule.burst / rule.perSecond) };
          expect(takeAt(bucket, rule, again.retryAfterSeconds * 1_000, 1).allowed).toBe(true);
          expect(takeAt(bucket, rule, again.retryAfterSeconds * 1_000, cost - 1, 1).allowed).toBe(true);
        },
      ),
    );
  });
});

describe('rateLimitHeaders', () => {
  const allowed = { allowed: true, remaining: 4_999, resetSeconds: 1, retryAfterSeconds: 0 };
  const refused = { allowed: false, remaining: 0, resetSeconds: 5, retryAfterSeconds: 2 };

  it.each([
    [allowed, { perSecond: 1_000, burst: 5_000 }, '"tenant";q=5000;w=5', '"tenant";r=4999;t=1'],
    [allowed, { perSecond: 0.3, burst: 5_000 }, '"tenant";q=5000;w=16667', '"tenant";r=4999;t=1'],
    // A window is at least a second, and whole.
    [allowed, { perSecond: 1_000_000, burst: 1 }, '"tenant";q=1;w=1', '"tenant";r=4999;t=1'],
    // Retry-After should not be earlier than t.
    [refused, { perSecond: 1_000, burst: 5_000 }, '"tenant";q=5000;w=5', '"tenant";r=0;t=2'],
  ])('%o under %o', (decision, rule, policy, state) => {
    expect(rateLimitHeaders(decision, rule)).toEqual({ 'ratelimit-policy': policy, ratelimit: state });
  });
});
