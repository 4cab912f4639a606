import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  GREATEST_DURATION_MS,
  LATENCY_BUCKETS,
  LatencyHistogram,
  MAX_RELATIVE_ERROR,
} from '../../../src/domain/latency-buckets.js';

const histogramOf = (durations: number[]): LatencyHistogram => {
  const histogram = new LatencyHistogram();
  for (const duration of durations) histogram.add(duration);
  return histogram;
};

/** The smallest value that has this share of all at or below it. */
function exactly(durations: number[], share: number): number {
  return durations.toSorted((a, b) => a - b)[Math.ceil(share * durations.length) - 1]!;
}

const duration = fc.oneof(
  fc.integer({ min: 0, max: 50 }),
  fc.integer({ min: 0, max: 2_000 }),
  fc.integer({ min: 0, max: GREATEST_DURATION_MS }),
);
const durations = fc.array(duration, { minLength: 1, maxLength: 300 });
const share = fc.constantFrom(0.001, 0.5, 0.9, 0.95, 0.99, 1);

describe('a percentile from buckets', () => {
  it('is off by no more than the error that is allowed', () => {
    fc.assert(
      fc.property(durations, share, (all, which) => {
        const [found] = histogramOf(all).percentiles([which])!;
        const exact = exactly(all, which);
        expect(Math.abs(found - exact)).toBeLessThanOrEqual(exact * MAX_RELATIVE_ERROR + 1e-9);
      }),
    );
  });

  it.each([0, 1, 9, 10, 11, 12, GREATEST_DURATION_MS - 1, GREATEST_DURATION_MS])('of %i ms alone', (one) => {
    const [found] = histogramOf([one]).percentiles([0.5])!;
    expect(Math.abs(found - one)).toBeLessThanOrEqual(one * MAX_RELATIVE_ERROR + 1e-9);
  });

  it('is the same whether the attempts were counted together or apart', () => {
    fc.assert(
      fc.property(durations, durations, (some, others) => {
        const sum = new LatencyHistogram();
        sum.addAll(histogramOf(some).counts);
        sum.addAll(histogramOf(others).counts);
        expect(sum.counts).toEqual(histogramOf([...some, ...others]).counts);
      }),
    );
  });

  it('is none without an attempt', () => {
    expect(new LatencyHistogram().percentiles([0.5])).toBeNull();
  });
});

it('what takes longer than the longest counts as that', () => {
  const [longest] = histogramOf([GREATEST_DURATION_MS]).percentiles([1])!;
  expect(histogramOf([10 * GREATEST_DURATION_MS]).percentiles([1])).toEqual([longest]);
});

it('takes few counts, up to the last bucket in use', () => {
  expect(LATENCY_BUCKETS).toBeLessThanOrEqual(128);
  expect(histogramOf([GREATEST_DURATION_MS]).counts).toHaveLength(LATENCY_BUCKETS);
  expect(histogramOf([3]).counts).toEqual([0, 0, 0, 1]);
});
