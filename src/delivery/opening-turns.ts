/** Connections whose opening begins in one turn of the event loop: each costs 0.3 ms, a TLS one several times as much. */
export const OPENINGS_A_TURN = 4;

/**
 * Spreads the opening of connections over turns of the event loop. One event for hundreds of subscriptions opens hundreds
 * of connections, and without this all of them in one turn, in which no other request or delivery is served. Tenants are
 * served in turn.
 */
export class OpeningTurns {
  private left = OPENINGS_A_TURN;
  private readonly waiting = new Map<string, (() => void)[]>();
  private isScheduled = false;

  /** @returns null when the opening may begin at once, else a promise of a later turn */
  next(tenantId: string): Promise<void> | null {
    this.schedule();
    if (this.left > 0 && this.waiting.size === 0) {
      this.left--;
      return null;
    }
    return new Promise((resolve) => {
      const queue = this.waiting.get(tenantId);
      if (queue) queue.push(resolve);
      else this.waiting.set(tenantId, [resolve]);
    });
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => this.begin());
  }

  private begin(): void {
    this.isScheduled = false;
    this.left = OPENINGS_A_TURN;
    for (const [tenantId, queue] of this.waiting) {
      if (this.left === 0) break;
      this.left--;
      queue.shift()?.();
      // To the end, behind the other tenants; the iteration comes to it again.
      this.waiting.delete(tenantId);
      if (queue.length > 0) this.waiting.set(tenantId, queue);
    }
    if (this.waiting.size > 0) this.schedule();
  }
}
