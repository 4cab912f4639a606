import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { Lane } from './lane.js';

/** Beyond this number, idle lanes are forgotten, and with them how their target behaved. */
export const MAX_LANES = 20_000;

/** The lanes that this process has worked on. */
@Injectable()
export class LaneRegistry {
  private readonly lanes = new Map<string, Lane>();

  constructor(private readonly config: Config) {}

  get(id: string): Lane {
    const known = this.lanes.get(id);
    const lane = known ?? new Lane(id, this.config.laneConcurrency);
    // To the end: the order is that of the last use.
    if (known) this.lanes.delete(id);
    else this.forgetIdle();
    this.lanes.set(id, lane);
    return lane;
  }

  /** Sends nothing more of what waits for its turn. */
  rejectQueues(): void {
    for (const lane of this.lanes.values()) lane.window.rejectQueue();
  }

  /** As many as are too many, those first that were used longest ago. */
  private forgetIdle(): void {
    if (this.lanes.size < MAX_LANES) return;
    for (const lane of this.lanes.values()) {
      if (lane.isIdle) this.lanes.delete(lane.id);
      if (this.lanes.size < MAX_LANES) return;
    }
  }
}
