import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { percentiles, type Percentiles } from './latencies.js';

const INTERVAL_MS = 100;
const PATIENCE_MS = 20_000;

/** How well somebody was served who does no harm, while others did. Times in milliseconds. */
export interface PulseReport {
  sent: number;
  /** Answered otherwise than 202, by what was answered. */
  refused: Record<string, number>;
  arrived: number;
  accept: Percentiles;
  /** Of those that arrived. */
  acceptToArrival: Percentiles;
  /** The longest that one took from its answer to its arrival; since its answer, if it has not arrived. */
  slowest: number;
}

/**
 * A tenant who means well: ten events a second to a subscriber who answers 200 at once. Both live in this process, so
 * one clock measures them.
 */
export class Pulse {
  private readonly answeredAt = new Map<number, number>();
  private readonly arrivedAt = new Map<number, number>();
  private readonly acceptMs: number[] = [];
  private readonly refused: Record<string, number> = {};
  private readonly agent = new Agent({ connections: 4 });
  private sent = 0;
  /** Sent and not answered yet. */
  private open = 0;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly server: Server,
    private readonly apiUrl: string,
  ) {
    server.on('request', (incoming, response) => {
      const number = Number(incoming.headers['x-request-id']?.slice('pulse-'.length));
      this.arrivedAt.set(number, performance.now());
      incoming.resume();
      response.end();
    });
  }

  static async start(apiUrl: string): Promise<Pulse> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Pulse(server, apiUrl);
  }

  get targetUrl(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** @param apiKey of a tenant with a subscription to {@link targetUrl} */
  begin(apiKey: string): void {
    this.timer = setInterval(() => void this.send(apiKey, this.sent++), INTERVAL_MS);
  }

  /** Sends no more, waits a while for what has not arrived, and tells. */
  async stop(): Promise<PulseReport> {
    clearInterval(this.timer);
    const deadline = performance.now() + PATIENCE_MS;
    while ((this.open > 0 || this.missing.length > 0) && performance.now() < deadline) await sleep(50);
    const waits = [...this.answeredAt].map(([number, at]) =>
      Math.max((this.arrivedAt.get(number) ?? performance.now()) - at, 0),
    );
    const arrived = this.answeredAt.size - this.missing.length;
    await this.agent.destroy();
    this.server.closeAllConnections();
    this.server.close();
    return {
      sent: this.sent,
      refused: this.refused,
      arrived,
      accept: percentiles(this.acceptMs),
      acceptToArrival: percentiles(waits),
      slowest: waits.length > 0 ? Math.max(...waits) : NaN,
    };
  }

  private get missing(): number[] {
    return [...this.answeredAt.keys()].filter((number) => !this.arrivedAt.has(number));
  }

  private async send(apiKey: string, number: number): Promise<void> {
    const startedAt = performance.now();
    this.open++;
    const status = await request(`${this.apiUrl}/api/v1/events`, {
      method: 'POST',
      dispatcher: this.agent,
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'x-request-id': `pulse-${number}`,
      },
      body: JSON.stringify({ event_type: 'pulse', payload: { number } }),
    }).then(
      async ({ statusCode, body }) => (await body.dump(), String(statusCode)),
      (error: unknown) => (error as NodeJS.ErrnoException).code ?? 'none',
    );
    this.open--;
    this.acceptMs.push(performance.now() - startedAt);
    if (status === '202') this.answeredAt.set(number, performance.now());
    else this.refused[status] = (this.refused[status] ?? 0) + 1;
  }
}
