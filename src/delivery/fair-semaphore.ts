import { LATENCY_CLASSES, type LatencyClass } from './latency-class.js';

/** How much of the capacity the holders of a class may have, together with those of the classes before it. */
const SHARES: Record<LatencyClass, number> = { slow: 0.5, unknown: 0.75, fast: 1 };

/**
 * A tenant may have so many times what it leaves free of what its class may have (dynamic thresholds, Choudhury and
 * Hahne, 1998): one alone gets 7/8 of it, two 7/15 each. The rest is there for a tenant that has nothing yet.
 */
const TIMES_WHAT_IS_LEFT = 7;

/** Says how many permits it takes of those that are free; null to wait for more. */
type Request = (free: number) => number | null;

/** To be released with the same tenant and class. Its amount is 0 once the semaphore is closed. */
export interface Permits {
  amount: number;
  tenant: string;
  latency: LatencyClass;
}

interface Waiting {
  request: Request;
  resolve: (permits: Permits) => void;
}

/**
 * A semaphore over a capacity of a worker (deliveries, bytes) that its lanes share. Holders whose requests take long
 * cannot fill it, so that there is always some left for those whose requests do not, and for those about which nothing
 * is known yet. Nor can those of one tenant have all that their class may have.
 *
 * A request that finds nothing free waits in the queue of its class. What becomes free goes to the queues in turn,
 * within a queue to the tenant that has least in this class, in turn to those that have the same, and within a tenant
 * to the first.
 */
export class FairSemaphore<Holder extends object> {
  private readonly held: Record<LatencyClass, number> = { slow: 0, unknown: 0, fast: 0 };
  private readonly heldBy = eachClass(() => new Map<string, number>());
  /** By tenant, the next to be served first. */
  private readonly queues = eachClass(() => new Map<string, Map<Holder, Waiting>>());
  /** In all queues: mostly none, and then a release costs next to nothing. */
  private waiting = 0;
  private turn = 0;
  private isClosed = false;

  constructor(
    private readonly capacity: number,
    private readonly tenantOf: (holder: Holder) => string,
  ) {}

  /** Permits that are held. */
  get inUse(): number {
    return LATENCY_CLASSES.reduce((sum, latency) => sum + this.held[latency], 0);
  }

  /** The most that holders of this class can have together. */
  shareOf(latency: LatencyClass): number {
    return Math.ceil(this.capacity * SHARES[latency]);
  }

  /** Waits until the request is met. The tenant of the holder must not change meanwhile. */
  async acquire(holder: Holder, latency: LatencyClass, request: Request): Promise<Permits> {
    const tenant = this.tenantOf(holder);
    if (this.isClosed) return { amount: 0, tenant, latency };
    const isFirst = this.queues[latency].size === 0;
    const permits = isFirst ? this.tryAcquire(tenant, latency, request) : null;
    if (permits) return permits;
    return new Promise((resolve) => {
      this.enqueue(holder, latency, { request, resolve });
      // There may be enough for a tenant that has less than those who wait.
      if (!isFirst) this.serveQueues();
    });
  }

  release({ tenant, latency, amount }: Permits): void {
    this.count(tenant, latency, -amount);
    this.serveQueues();
  }

  /** A holder that waits in the queue of its former class goes to the end of the other. */
  changeClass(holder: Holder, from: LatencyClass, to: LatencyClass): void {
    const tenant = this.tenantOf(holder);
    const holders = this.queues[from].get(tenant);
    const waiting = holders?.get(holder);
    if (!holders || !waiting || from === to) return;
    holders.delete(holder);
    if (holders.size === 0) this.queues[from].delete(tenant);
    this.waiting--;
    this.enqueue(holder, to, waiting);
    this.serveQueues();
  }

  /** Answers all that wait, and all requests to come, with no permits. */
  close(): void {
    this.isClosed = true;
    for (const latency of LATENCY_CLASSES) {
      for (const [tenant, holders] of this.queues[latency]) {
        for (const { resolve } of holders.values()) resolve({ amount: 0, tenant, latency });
      }
      this.queues[latency].clear();
    }
    this.waiting = 0;
  }

  private enqueue(holder: Holder, latency: LatencyClass, waiting: Waiting): void {
    const tenant = this.tenantOf(holder);
    const holders = this.queues[latency].get(tenant);
    if (holders) holders.set(holder, waiting);
    else this.queues[latency].set(tenant, new Map([[holder, waiting]]));
    this.waiting++;
  }

  /** What is granted is counted at once: no other request can come between. */
  private serveQueues(): void {
    if (this.waiting === 0) return;
    for (let passed = 0; passed < LATENCY_CLASSES.length;) {
      const latency = LATENCY_CLASSES[this.turn++ % LATENCY_CLASSES.length] as LatencyClass;
      if (this.serveNext(latency)) passed = 0;
      else passed++;
    }
  }

  private serveNext(latency: LatencyClass): boolean {
    const queue = this.queues[latency];
    if (queue.size === 0 || this.free(latency) <= 0) return false;
    const tenant = this.leastServed(latency);
    const holders = queue.get(tenant);
    const [first] = holders ?? [];
    if (!holders || !first) return false;
    const [holder, { request, resolve }] = first;
    const permits = this.tryAcquire(tenant, latency, request);
    if (permits === null) return false;
    holders.delete(holder);
    queue.delete(tenant);
    if (holders.size > 0) queue.set(tenant, holders);
    this.waiting--;
    resolve(permits);
    return true;
  }

  /** Of the tenants in the queue the one that has least in this class; of several, the first. */
  private leastServed(latency: LatencyClass): string {
    let leastServed = '';
    let least = Infinity;
    for (const tenant of this.queues[latency].keys()) {
      const held = this.heldBy[latency].get(tenant);
      if (held === undefined) return tenant;
      if (held >= least) continue;
      leastServed = tenant;
      least = held;
    }
    return leastServed;
  }

  private tryAcquire(tenant: string, latency: LatencyClass, request: Request): Permits | null {
    const amount = request(this.freeFor(tenant, latency));
    if (amount === null) return null;
    this.count(tenant, latency, amount);
    return { amount, tenant, latency };
  }

  private count(tenant: string, latency: LatencyClass, amount: number): void {
    this.held[latency] += amount;
    const held = (this.heldBy[latency].get(tenant) ?? 0) + amount;
    if (held === 0) this.heldBy[latency].delete(tenant);
    else this.heldBy[latency].set(tenant, held);
  }

  /** All that is free for a tenant that has nothing, else as much as leaves enough free beside it. */
  private freeFor(tenant: string, latency: LatencyClass): number {
    const free = this.free(latency);
    const held = this.heldBy[latency].get(tenant);
    if (held === undefined) return free;
    return Math.floor((TIMES_WHAT_IS_LEFT * free - held) / (TIMES_WHAT_IS_LEFT + 1));
  }

  private free(latency: LatencyClass): number {
    const { slow, unknown, fast } = this.held;
    let free = this.capacity - slow - unknown - fast;
    if (latency !== 'fast') free = Math.min(free, this.shareOf('unknown') - slow - unknown);
    if (latency === 'slow') free = Math.min(free, this.shareOf('slow') - slow);
    return free;
  }
}

const eachClass = <T>(make: () => T): Record<LatencyClass, T> => ({
  slow: make(),
  unknown: make(),
  fast: make(),
});
