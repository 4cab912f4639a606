import type { LookupAddress } from 'node:dns';

/** All A and AAAA addresses of a host name; rejects when there are none. */
export type Lookup = (hostname: string) => Promise<LookupAddress[]>;

/** Waiting look-ups of all tenants, and of one. */
const MAX_WAITING = 1_000;
const MAX_WAITING_OF_A_TENANT = 100;

/** There was no answer in time, or too many look-ups wait already. The codes are those of `node:dns`. */
export class LookupNotAnswered extends Error {
  constructor(readonly code: 'ETIMEOUT' | 'EBUSY') {
    super(
      code === 'ETIMEOUT' ? 'the system gave no answer in time' : 'too many look-ups wait for the system',
    );
  }
}

interface Waiting {
  hostname: string;
  answer: (addresses: Promise<LookupAddress[]>) => void;
}

/**
 * Look-ups by the operating system (getaddrinfo) for targets, one at a time. Each takes a thread until it is answered
 * and cannot be called off; libuv has four threads and gives look-ups two of them, so this leaves one to the connections
 * to PostgreSQL and Redis, whatever tenants name. What waits longer than the time-out is rejected and never asked.
 * Tenants take turns.
 */
export class SystemLookups {
  /** By tenant; the first tenant is served next. */
  private readonly queues = new Map<string, Set<Waiting>>();
  private waiting = 0;
  private isAsking = false;

  constructor(
    private readonly lookup: Lookup,
    private readonly timeoutMs: number,
  ) {}

  /** @throws LookupNotAnswered, or what the system says, by rejecting */
  resolve(hostname: string, tenantId: string): Promise<LookupAddress[]> {
    const queue = this.queues.get(tenantId) ?? new Set();
    if (this.waiting >= MAX_WAITING || queue.size >= MAX_WAITING_OF_A_TENANT) {
      return Promise.reject(new LookupNotAnswered('EBUSY'));
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        hostname,
        answer: (addresses) => {
          addresses.then(resolve, reject).finally(() => clearTimeout(timer));
        },
      };
      const timer = setTimeout(() => {
        this.leave(tenantId, waiting);
        reject(new LookupNotAnswered('ETIMEOUT'));
      }, this.timeoutMs);
      this.queues.set(tenantId, queue.add(waiting));
      this.waiting++;
      void this.serve();
    });
  }

  private async serve(): Promise<void> {
    if (this.isAsking) return;
    this.isAsking = true;
    for (let next = this.next(); next !== undefined; next = this.next()) {
      const addresses = this.lookup(next.hostname);
      next.answer(addresses);
      await addresses.catch(() => undefined);
    }
    this.isAsking = false;
  }

  /** The first look-up of the first tenant, which then comes last. */
  private next(): Waiting | undefined {
    for (const [tenantId, queue] of this.queues) {
      for (const waiting of queue) {
        this.leave(tenantId, waiting);
        if (queue.size > 0) {
          this.queues.delete(tenantId);
          this.queues.set(tenantId, queue);
        }
        return waiting;
      }
    }
    return undefined;
  }

  private leave(tenantId: string, waiting: Waiting): void {
    const queue = this.queues.get(tenantId);
    if (!queue?.delete(waiting)) return;
    this.waiting--;
    if (queue.size === 0) this.queues.delete(tenantId);
  }
}
