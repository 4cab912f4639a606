import { Injectable } from '@nestjs/common';
import { makeGaugeProvider } from '@willsoto/nestjs-prometheus';
import type { Gauge } from 'prom-client';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';

const MAX_AGE_MS = 10_000;

/** How much is open and how much is dead, counted when /metrics is read, at most every ten seconds. */
@Injectable()
export class Depths {
  private counted: Promise<{ open: number; dead: number }> | undefined;
  private countedAt = 0;

  constructor(private readonly lanes: LaneRepository) {}

  async read(): Promise<{ open: number; dead: number } | undefined> {
    if (Date.now() - this.countedAt > MAX_AGE_MS) {
      this.countedAt = Date.now();
      this.counted = this.lanes.countOpenAndDead();
    }
    // Metrics are still worth having while PostgreSQL does not answer.
    return this.counted?.catch(() => undefined);
  }
}

export const DEPTH_PROVIDERS = [
  Depths,
  gauge(
    'webhook_queue_depth',
    'Deliveries that are neither delivered, dead nor cancelled (counted up to 100,000).',
    'open',
  ),
  gauge('webhook_dlq_size', 'Dead letters (counted up to 100,000).', 'dead'),
];

function gauge(name: string, help: string, which: 'open' | 'dead') {
  return makeGaugeProvider({
    name,
    help,
    inject: [Depths],
    async collect(this: Gauge, depths: Depths) {
      const depth = await depths.read();
      if (depth) this.set(depth[which]);
    },
  });
}
