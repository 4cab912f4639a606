/** How a lane's target served the last request: late or not at all; nobody knows yet; at once. */
export const PACES = ['slow', 'untried', 'quick'] as const;
export type Pace = (typeof PACES)[number];

/** How much of the room the lanes of a pace may fill, together with those of the paces before it. */
const SHARES: Record<Pace, number> = { slow: 0.5, untried: 0.75, quick: 1 };

/**
 * A tenant may have so many times what it leaves free of what its pace may fill (dynamic thresholds, Choudhury and
 * Hahne, 1998): one alone gets 7/8 of it, two 7/15 each. The rest is there for a tenant that has nothing yet.
 */
const TIMES_WHAT_IS_LEFT = 7;

/** Says how much of what is free it takes; null to wait for more. */
type Wish = (free: number) => number | null;

/** To be given back with the same tenant and pace. Nothing once the room is closed. */
export interface Grant {
  amount: number;
  tenant: string;
  pace: Pace;
}

interface Waiting {
  wish: Wish;
  resolve: (grant: Grant) => void;
}

/**
 * Something that a worker has only so much of, shared by its lanes. Lanes whose requests take long cannot fill it, so
 * that there is always some left for those whose requests do not, and for those about which nothing is known yet. Nor
 * can those of one tenant fill what their pace may.
 *
 * Whoever finds nothing free stands in the line of its pace. What becomes free goes to the lines in turn, within a line
 * to the tenant that has least at this pace, in turn to those that have the same, and within a tenant to the first.
 */
export class SharedRoom<Taker extends object> {
  private readonly taken: Record<Pace, number> = { slow: 0, untried: 0, quick: 0 };
  private readonly takenBy = eachPace(() => new Map<string, number>());
  /** By tenant, whose turn it is first. */
  private readonly lines = eachPace(() => new Map<string, Map<Taker, Waiting>>());
  /** In all lines: mostly nobody, and then giving back costs next to nothing. */
  private waiting = 0;
  private turn = 0;
  private isClosed = false;

  constructor(
    private readonly size: number,
    private readonly tenantOf: (taker: Taker) => string,
  ) {}

  get filled(): number {
    return PACES.reduce((sum, pace) => sum + this.taken[pace], 0);
  }

  /** The most that lanes of this pace can have together. */
  shareOf(pace: Pace): number {
    return Math.ceil(this.size * SHARES[pace]);
  }

  /** Waits until the wish is granted. The tenant of the taker must not change meanwhile. */
  async take(taker: Taker, pace: Pace, wish: Wish): Promise<Grant> {
    const tenant = this.tenantOf(taker);
    if (this.isClosed) return { amount: 0, tenant, pace };
    const isFirst = this.lines[pace].size === 0;
    const grant = isFirst ? this.grant(tenant, pace, wish) : null;
    if (grant) return grant;
    return new Promise((resolve) => {
      this.lineUp(taker, pace, { wish, resolve });
      // There may be enough for a tenant that has less than those who wait.
      if (!isFirst) this.serveLines();
    });
  }

  giveBack({ tenant, pace, amount }: Grant): void {
    this.count(tenant, pace, -amount);
    this.serveLines();
  }

  /** Whoever stands in a line it no longer belongs to goes to the end of the other. */
  changePace(taker: Taker, from: Pace, to: Pace): void {
    const tenant = this.tenantOf(taker);
    const takers = this.lines[from].get(tenant);
    const waiting = takers?.get(taker);
    if (!takers || !waiting || from === to) return;
    takers.delete(taker);
    if (takers.size === 0) this.lines[from].delete(tenant);
    this.waiting--;
    this.lineUp(taker, to, waiting);
    this.serveLines();
  }

  /** Sends away whoever waits, and whoever comes. */
  close(): void {
    this.isClosed = true;
    for (const pace of PACES) {
      for (const [tenant, takers] of this.lines[pace]) {
        for (const { resolve } of takers.values()) resolve({ amount: 0, tenant, pace });
      }
      this.lines[pace].clear();
    }
    this.waiting = 0;
  }

  private lineUp(taker: Taker, pace: Pace, waiting: Waiting): void {
    const tenant = this.tenantOf(taker);
    const takers = this.lines[pace].get(tenant);
    if (takers) takers.set(taker, waiting);
    else this.lines[pace].set(tenant, new Map([[taker, waiting]]));
    this.waiting++;
  }

  /** What is granted is taken at once: nobody can come between. */
  private serveLines(): void {
    if (this.waiting === 0) return;
    for (let passed = 0; passed < PACES.length;) {
      const pace = PACES[this.turn++ % PACES.length] as Pace;
      if (this.serveNext(pace)) passed = 0;
      else passed++;
    }
  }

  private serveNext(pace: Pace): boolean {
    const line = this.lines[pace];
    if (line.size === 0 || this.free(pace) <= 0) return false;
    const tenant = this.neediest(pace);
    const takers = line.get(tenant);
    const [first] = takers ?? [];
    if (!takers || !first) return false;
    const [taker, { wish, resolve }] = first;
    const grant = this.grant(tenant, pace, wish);
    if (grant === null) return false;
    takers.delete(taker);
    line.delete(tenant);
    if (takers.size > 0) line.set(tenant, takers);
    this.waiting--;
    resolve(grant);
    return true;
  }

  /** Of the tenants in the line the one that has least at this pace; of several the one whose turn is first. */
  private neediest(pace: Pace): string {
    let neediest = '';
    let least = Infinity;
    for (const tenant of this.lines[pace].keys()) {
      const taken = this.takenBy[pace].get(tenant);
      if (taken === undefined) return tenant;
      if (taken >= least) continue;
      neediest = tenant;
      least = taken;
    }
    return neediest;
  }

  private grant(tenant: string, pace: Pace, wish: Wish): Grant | null {
    const amount = wish(this.freeFor(tenant, pace));
    if (amount === null) return null;
    this.count(tenant, pace, amount);
    return { amount, tenant, pace };
  }

  private count(tenant: string, pace: Pace, amount: number): void {
    this.taken[pace] += amount;
    const taken = (this.takenBy[pace].get(tenant) ?? 0) + amount;
    if (taken === 0) this.takenBy[pace].delete(tenant);
    else this.takenBy[pace].set(tenant, taken);
  }

  /** All that is free for a tenant that has nothing, else as much as leaves enough free beside it. */
  private freeFor(tenant: string, pace: Pace): number {
    const free = this.free(pace);
    const taken = this.takenBy[pace].get(tenant);
    if (taken === undefined) return free;
    return Math.floor((TIMES_WHAT_IS_LEFT * free - taken) / (TIMES_WHAT_IS_LEFT + 1));
  }

  private free(pace: Pace): number {
    const { slow, untried, quick } = this.taken;
    let free = this.size - slow - untried - quick;
    if (pace !== 'quick') free = Math.min(free, this.shareOf('untried') - slow - untried);
    if (pace === 'slow') free = Math.min(free, this.shareOf('slow') - slow);
    return free;
  }
}

const eachPace = <T>(make: () => T): Record<Pace, T> => ({ slow: make(), untried: make(), quick: make() });
