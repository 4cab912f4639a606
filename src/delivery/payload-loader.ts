import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { Batcher } from '../persistence/batcher.js';
import type { LoadedDelivery } from '../domain/delivery.js';
import type { ClaimedDelivery } from '../domain/delivery.js';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';
import { FairSemaphore } from './fair-semaphore.js';
import type { LatencyClass } from './latency-class.js';

/** Bytes of large payloads that a worker holds; more where a single one may be larger. */
const MEMORY_BYTES = 64 * 1_048_576;
const LEAST_PAYLOADS = 4;
/** Bytes that one statement reads: on their way they take several times as much. */
const MAX_BYTES_A_READ = 4 * 1_048_576;

export interface Loaded {
  delivery: LoadedDelivery;
  /** To be called once the payload is not needed any more. */
  release: () => void;
}

/**
 * Fetches the payloads that are too large to come with the claim, right before they are sent, as many at a time as there
 * is memory for: a worker may have thousands of deliveries in flight, and must not have thousands of megabytes.
 */
@Injectable()
export class PayloadLoader {
  private readonly memory: FairSemaphore<ClaimedDelivery>;
  private readonly reads: Batcher<ClaimedDelivery, Buffer>;

  constructor(repository: LaneRepository, config: Config) {
    this.memory = new FairSemaphore(
      Math.max(MEMORY_BYTES, LEAST_PAYLOADS * config.maxPayloadBytes),
      ({ tenantId }) => tenantId,
    );
    this.reads = new Batcher({
      flush: (deliveries) => repository.payloads(deliveries.map(({ eventId }) => eventId)),
      weigh: ({ payloadBytes }) => payloadBytes,
      maxWeight: MAX_BYTES_A_READ,
      lingerMs: 0,
    });
  }

  /**
   * The delivery with its payload, which takes memory until `release` is called.
   * @returns null when all stops before there is memory for it
   * @throws when the payload could not be read
   */
  async load(delivery: ClaimedDelivery, latency: LatencyClass): Promise<Loaded | null> {
    const { payload, payloadBytes: bytes } = delivery;
    if (payload !== null) return { delivery: { ...delivery, payload }, release: () => undefined };
    // One that is larger than all there is goes when nothing else does.
    const needed = Math.min(bytes, this.memory.shareOf(latency));
    const permits = await this.memory.acquire(delivery, latency, (free) => (free >= needed ? needed : null));
    if (permits.amount === 0) return null;
    const release = () => this.memory.release(permits);
    try {
      return { delivery: { ...delivery, payload: await this.reads.add(delivery) }, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  close(): void {
    this.memory.close();
  }
}
