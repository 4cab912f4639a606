import type { Client } from './posthorn.js';

/** A known set of events, numbered from 0, on their way into the service. */
export class Load {
  /** By number, the event's id, which subscribers see as webhook-id. */
  readonly acknowledged = new Map<number, string>();

  /** @param typeOf the event type of each number */
  constructor(
    readonly size: number,
    private readonly typeOf: (number: number) => string,
  ) {}

  /**
   * Sends what is not acknowledged yet, `concurrency` at once; resolves when each has had its try. What fails may have
   * been stored all the same, so every try carries the same idempotency key.
   */
  async send(tenant: Client, concurrency = 16): Promise<void> {
    const open = Array.from({ length: this.size }, (_, number) => number).filter(
      (number) => !this.acknowledged.has(number),
    );
    const sender = async (): Promise<void> => {
      for (let number = open.shift(); number !== undefined; number = open.shift()) {
        await this.sendOne(tenant, number);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, sender));
  }

  private async sendOne(tenant: Client, number: number): Promise<void> {
    const event = {
      event_type: this.typeOf(number),
      payload: { number },
      idempotency_key: `load-${number}`,
    };
    try {
      const { status, body } = await tenant.request('POST', '/events', event);
      if (status === 202 || status === 200) this.acknowledged.set(number, body.id as string);
    } catch {
      // The connection broke: whether it was stored is not known.
    }
  }
}
