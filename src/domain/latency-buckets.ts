/** A percentile from buckets is off by no more than this share of the exact one, up to the greatest duration. */
export const MAX_RELATIVE_ERROR = 0.05;

/** Milliseconds; anything longer counts as that. No attempt may take more than half of it. */
export const GREATEST_DURATION_MS = 60_000;

/** The least duration of each bucket, in whole milliseconds: as wide as the error allows, so one each up to 9 ms. */
const LEAST: readonly number[] = leasts();

/** How many buckets there are. */
export const LATENCY_BUCKETS = LEAST.length;

/** How many attempts took how long, in logarithmic buckets, which can be added up, as percentiles cannot. */
export class LatencyHistogram {
  /** By bucket, up to the last one in use. */
  readonly counts: number[] = [];

  add(durationMs: number, count = 1): void {
    this.addTo(bucketOf(durationMs), count);
  }

  /** @param counts of another histogram */
  addAll(counts: readonly number[]): void {
    counts.forEach((count, bucket) => {
      if (count > 0) this.addTo(bucket, count);
    });
  }

  /**
   * Nearest-rank percentiles, in milliseconds.
   * @param shares in (0, 1]
   * @returns null when there is nothing in it
   */
  percentiles<const Shares extends readonly number[]>(
    shares: Shares,
  ): { [Index in keyof Shares]: number } | null {
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return null;
    return shares.map((share) => this.atRank(Math.ceil(share * total))) as {
      [Index in keyof Shares]: number;
    };
  }

  private addTo(bucket: number, count: number): void {
    while (this.counts.length <= bucket) this.counts.push(0);
    this.counts[bucket] = (this.counts[bucket] ?? 0) + count;
  }

  private atRank(rank: number): number {
    let passed = 0;
    return middleOf(this.counts.findIndex((count) => (passed += count) >= rank));
  }
}

/** The last bucket that begins at this duration or below it. */
function bucketOf(durationMs: number): number {
  let [low, high] = [0, LATENCY_BUCKETS];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((LEAST[middle] ?? 0) <= durationMs) low = middle;
    else high = middle;
  }
  return low;
}

/** The value whose relative error is the same at both ends of the bucket. */
function middleOf(bucket: number): number {
  const low = LEAST[bucket] ?? 0;
  const high = (LEAST[bucket + 1] ?? GREATEST_DURATION_MS + 1) - 1;
  return low === high ? low : (2 * low * high) / (low + high);
}

function leasts(): number[] {
  const found = [0];
  const widest = (1 + MAX_RELATIVE_ERROR) / (1 - MAX_RELATIVE_ERROR);
  for (let least = 1; least <= GREATEST_DURATION_MS; least = Math.floor(least * widest) + 1)
    found.push(least);
  return found;
}
