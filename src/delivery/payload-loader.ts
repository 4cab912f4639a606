import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { Batcher } from '../persistence/batcher.js';
import type { LoadedDelivery } from '../domain/delivery.js';
import type { ClaimedDelivery } from '../domain/delivery.js';
import { LaneRepository } from '../persistence/repositories/lane.repository.js';
import { Pace, SharedRoom } from './shared-room.js';

/** Bytes of large payloads that a worker holds; more where a single one may be larger. */
const ROOM_BYTES = 64 * 1_048_576;
const PAYLOADS_OF_ROOM = 4;
/** Bytes that one statement reads: on their way they take several times as much. */
const MAX_BYTES_A_READ = 4 * 1_048_576;

export interface Loaded {
  delivery: LoadedDelivery;
  letGo: () => void;
}

/**
 * Fetches the payloads that are too large to come with the claim, right before they are sent, as many at a time as there
 * is room for: a worker may have thousands of deliveries in hand, and must not have thousands of megabytes.
 */
@Injectable()
export class PayloadLoader {
  private readonly room: SharedRoom<ClaimedDelivery>;
  private readonly reads: Batcher<ClaimedDelivery, Buffer>;

  constructor(repository: LaneRepository, config: Config) {
    this.room = new SharedRoom(
      Math.max(ROOM_BYTES, PAYLOADS_OF_ROOM * config.maxPayloadBytes),
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
   * The delivery with its payload, which takes room until `letGo` is called.
   * @returns null when all stops before there is room
   * @throws when the payload could not be read
   */
  async load(delivery: ClaimedDelivery, pace: Pace): Promise<Loaded | null> {
    const { payload, payloadBytes: bytes } = delivery;
    if (payload !== null) return { delivery: { ...delivery, payload }, letGo: () => undefined };
    // One that is larger than all there is goes when nothing else does.
    const needed = Math.min(bytes, this.room.shareOf(pace));
    const grant = await this.room.take(delivery, pace, (free) => (free >= needed ? needed : null));
    if (grant.amount === 0) return null;
    const letGo = () => this.room.giveBack(grant);
    try {
      return { delivery: { ...delivery, payload: await this.reads.add(delivery) }, letGo };
    } catch (error) {
      letGo();
      throw error;
    }
  }

  close(): void {
    this.room.close();
  }
}
