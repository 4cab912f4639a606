import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { Lane } from './lane.js';

/** Idle lanes beyond this number are forgotten, and with them how their target behaved. */
const MAX_IDLE_LANES = 20_000;

/** The lanes that this process has worked on. */
@Injectable()
export class LaneRegistry {
  private readonly lanes = new Map<string, Lane>();

  constructor(private readonly config: Config) {}

  get(id: string): Lane {
    let lane = this.lanes.get(id);
    if (!lane) {
      if (this.lanes.size >= MAX_IDLE_LANES) this.forgetIdle();
      lane = new Lane(id, this.config.laneConcurrency);
      this.lanes.set(id, lane);
    }
    return lane;
  }

  /** Sends nothing more of what waits for its turn. */
  rejectQueues(): void {
    for (const lane of this.lanes.values()) lane.window.rejectQueue();
  }

  private forgetIdle(): void {
    for (const lane of this.lanes.values()) if (lane.isIdle) this.lanes.delete(lane.id);
  }
}
