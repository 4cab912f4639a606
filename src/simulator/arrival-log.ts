import type { IncomingHttpHeaders } from 'node:http';

/** One request that the simulator got whole. */
export interface Arrival {
  /** Without the query: the mailbox that records are kept by. */
  readonly path: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** The exact bytes; empty with `keepBodies: false`. */
  readonly body: Buffer;
  readonly bytes: number;
  /** When its head arrived: milliseconds since the epoch, with fractions. */
  readonly arrivedAt: number;
  /** null: no secret is known for this path. */
  readonly signatureValid: boolean | null;
  readonly signatureProblem: string | null;
  /**
   * The same `webhook-id` was accepted (2xx) on this path before, or is being handled. A retry of what was
   * refused is not a duplicate.
   */
  readonly duplicate: boolean;
  /** null: not answered yet (a delay), or never (a hang, a drop, or the sender left first). */
  status: number | null;
}

export interface MailboxStats {
  received: number;
  duplicates: number;
  badSignatures: number;
  /** How often each status was answered; `none` counts requests left without one. */
  statuses: Record<string, number>;
}

interface Mailbox extends MailboxStats {
  /** webhook-ids accepted or in hand, oldest first. */
  held: Set<string>;
}

interface Waiter {
  check: () => void;
  fail: (reason: string) => void;
}

/** What has arrived, and who waits for more. */
export class ArrivalLog {
  readonly #maxRecords: number;
  readonly #mailboxes = new Map<string, Mailbox>();
  readonly #waiters = new Set<Waiter>();
  #arrivals: Arrival[] = [];
  #total = 0;

  /** @param maxRecords how many arrivals (and, a path, how many webhook-ids) are remembered; 0 = only count */
  constructor(maxRecords: number) {
    this.#maxRecords = maxRecords;
  }

  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  get total(): number {
    return this.#total;
  }

  countOn(path: string): number {
    return this.#mailboxes.get(path)?.received ?? 0;
  }

  stats(): Record<string, MailboxStats> {
    const entries = [...this.#mailboxes].map(([path, { held: _held, ...stats }]) => [path, stats] as const);
    return Object.fromEntries(entries);
  }

  /** Says whether this webhook-id is a duplicate on the path, and takes it in hand if not. */
  hold(path: string, webhookId: string | undefined): boolean {
    if (webhookId === undefined || this.#maxRecords === 0) return false;
    const { held } = this.#mailbox(path);
    if (held.has(webhookId)) return true;
    held.add(webhookId);
    const [oldest] = held;
    if (held.size > this.#maxRecords && oldest !== undefined) held.delete(oldest);
    return false;
  }

  add(arrival: Arrival): void {
    const mailbox = this.#mailbox(arrival.path);
    this.#total++;
    mailbox.received++;
    if (arrival.duplicate) mailbox.duplicates++;
    if (arrival.signatureValid === false) mailbox.badSignatures++;
    if (this.#maxRecords === 0) return;
    this.#arrivals.push(arrival);
    // A tenth at a time: dropping one from the front of a long array, each time, would be slow.
    if (this.#arrivals.length > this.#maxRecords) {
      this.#arrivals = this.#arrivals.slice(Math.ceil(this.#maxRecords / 10));
    }
  }

  answered(path: string, status: number | null): void {
    const { statuses } = this.#mailbox(path);
    const key = String(status ?? 'none');
    statuses[key] = (statuses[key] ?? 0) + 1;
  }

  /** The webhook-id was refused: the next try of it is no duplicate. */
  release(path: string, webhookId: string): void {
    this.#mailbox(path).held.delete(webhookId);
  }

  clear(): void {
    this.#arrivals = [];
    this.#mailboxes.clear();
    this.#total = 0;
  }

  /** Resolves as soon as the condition holds; it is asked now and after every arrival and answer. */
  waitFor(condition: () => boolean, timeoutMs: number): Promise<void> {
    const failure = new Error(); // Made here, so that its stack shows who waits.
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        check: () => {
          try {
            if (!condition()) return;
            settle();
            resolve();
          } catch (error) {
            settle();
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        },
        fail: (reason) => {
          settle();
          failure.message = `${reason}; received: ${JSON.stringify(this.stats())}`;
          reject(failure);
        },
      };
      const timer = setTimeout(() => waiter.fail(`waited ${timeoutMs} ms in vain`), timeoutMs);
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      this.#waiters.add(waiter);
      waiter.check();
    });
  }

  notify(): void {
    for (const waiter of this.#waiters) waiter.check();
  }

  abandonWaiters(): void {
    for (const waiter of this.#waiters) waiter.fail('the simulator was closed');
  }

  #mailbox(path: string): Mailbox {
    let mailbox = this.#mailboxes.get(path);
    if (!mailbox) {
      mailbox = { received: 0, duplicates: 0, badSignatures: 0, statuses: {}, held: new Set() };
      this.#mailboxes.set(path, mailbox);
    }
    return mailbox;
  }
}
