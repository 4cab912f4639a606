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

/** Milliseconds since the epoch with fractions, alike in all processes of one machine. */
export const wallClock = (): number => performance.timeOrigin + performance.now();
