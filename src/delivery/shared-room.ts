/** How a lane's target served the last request: late or not at all; nobody knows yet; at once. */
export const PACES = ['slow', 'untried', 'quick'] as const;
export type Pace = (typeof PACES)[number];

/** How much of the room the lanes of a pace may fill, together with those of the paces before it. */
const SHARES: Record<Pace, number> = { slow: 0.5, untried: 0.75, quick: 1 };

/** Says how much of what is free it takes; null to wait for more. */
type Wish = (free: number) => number | null;

/** To be given back with the same pace. Nothing once the room is closed. */
export interface Grant {
  amount: number;
  pace: Pace;
}

interface Waiting {
  wish: Wish;
  resolve: (grant: Grant) => void;
}

/**
 * Something that a worker has only so much of, shared by its lanes. Lanes whose requests take long cannot fill it, so
 * that there is always some left for those whose requests do not, and for those about which nothing is known yet.
 * Whoever finds nothing free stands in the line of its pace; what becomes free goes to the lines in turn.
 */
export class SharedRoom<Taker extends object> {
  private readonly taken: Record<Pace, number> = { slow: 0, untried: 0, quick: 0 };
  private readonly lines: Record<Pace, Map<Taker, Waiting>> = {
    slow: new Map(),
    untried: new Map(),
    quick: new Map(),
  };
  private turn = 0;
  private isClosed = false;

  constructor(private readonly size: number) {}

  get filled(): number {
    return PACES.reduce((sum, pace) => sum + this.taken[pace], 0);
  }

  /** The most that lanes of this pace can have together. */
  shareOf(pace: Pace): number {
    return Math.ceil(this.size * SHARES[pace]);
  }

  /** Waits until the wish is granted. */
  async take(taker: Taker, pace: Pace, wish: Wish): Promise<Grant> {
    if (this.isClosed) return { amount: 0, pace };
    const grant = this.lines[pace].size === 0 ? this.grant(pace, wish) : null;
    return grant ?? new Promise((resolve) => this.lines[pace].set(taker, { wish, resolve }));
  }

  giveBack({ pace, amount }: Grant): void {
    this.taken[pace] -= amount;
    this.serveLines();
  }

  /** Whoever stands in a line it no longer belongs to goes to the end of the other. */
  changePace(taker: Taker, from: Pace, to: Pace): void {
    const waiting = this.lines[from].get(taker);
    if (waiting === undefined || from === to) return;
    this.lines[from].delete(taker);
    this.lines[to].set(taker, waiting);
    this.serveLines();
  }

  /** Sends away whoever waits, and whoever comes. */
  close(): void {
    this.isClosed = true;
    for (const pace of PACES) {
      for (const { resolve } of this.lines[pace].values()) resolve({ amount: 0, pace });
      this.lines[pace].clear();
    }
  }

  /** What is granted is taken at once: nobody can come between. */
  private serveLines(): void {
    for (let passed = 0; passed < PACES.length;) {
      const pace = PACES[this.turn++ % PACES.length] as Pace;
      if (this.serveFirst(pace)) passed = 0;
      else passed++;
    }
  }

  private serveFirst(pace: Pace): boolean {
    const [first] = this.lines[pace];
    if (first === undefined) return false;
    const [taker, { wish, resolve }] = first;
    const grant = this.grant(pace, wish);
    if (grant === null) return false;
    this.lines[pace].delete(taker);
    resolve(grant);
    return true;
  }

  private grant(pace: Pace, wish: Wish): Grant | null {
    const amount = wish(this.free(pace));
    if (amount === null) return null;
    this.taken[pace] += amount;
    return { amount, pace };
  }

  private free(pace: Pace): number {
    let free = Infinity;
    let filled = 0;
    for (const [index, each] of PACES.entries()) {
      filled += this.taken[each];
      if (index >= PACES.indexOf(pace)) free = Math.min(free, this.shareOf(each) - filled);
    }
    return free;
  }
}
