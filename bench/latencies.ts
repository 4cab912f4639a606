export interface Percentiles {
  p50: number;
  p99: number;
}

/** Nearest-rank percentiles; NaN of nothing. */
export function percentiles(values: Iterable<number>): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

/**
 * Milliseconds with fractions on the machine's monotonic clock, which all its processes share and nobody sets. Unlike
 * performance.timeOrigin, which each process reads from the wall clock at its own start, it is the same in all of them.
 */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** How far `performance.timeOrigin + performance.now()` of this process is ahead of {@link monotonicMs}. */
const EPOCH_OFFSET_MS = performance.timeOrigin + performance.now() - monotonicMs();

/** @param epochMs what `performance.timeOrigin + performance.now()` was in this process */
export const toMonotonicMs = (epochMs: number): number => epochMs - EPOCH_OFFSET_MS;
