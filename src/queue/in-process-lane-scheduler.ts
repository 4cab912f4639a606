import { Injectable } from '@nestjs/common';
import { LaneHandler, LaneScheduler, WAKE_HORIZON_MS, wakeSlot } from './lane-scheduler.js';

/** Lanes handed to the handler at once. */
const MAX_LANES_A_CALL = 50;
const MAX_CALLS_AT_ONCE = 16;

/** The scheduler of the single-process default: timers and a set, no Redis. */
@Injectable()
export class InProcessLaneScheduler extends LaneScheduler {
  private handler: LaneHandler | undefined;
  private readonly waiting = new Set<string>();
  private readonly delayed = new Map<string, NodeJS.Timeout>();
  private readonly calls = new Set<Promise<void>>();
  private stopped = false;

  wake(subscriptionIds: readonly string[], inMs = 0): Promise<void> {
    if (this.stopped || inMs > WAKE_HORIZON_MS) return Promise.resolve();
    if (inMs > 0) {
      const slot = wakeSlot(Date.now() + inMs, inMs);
      for (const id of subscriptionIds) this.wakeAt(id, slot);
    } else {
      for (const id of subscriptionIds) this.waiting.add(id);
      this.pump();
    }
    return Promise.resolve();
  }

  serve(handler: LaneHandler): Promise<void> {
    this.handler = handler;
    this.pump();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const timer of this.delayed.values()) clearTimeout(timer);
    this.delayed.clear();
    this.waiting.clear();
    await Promise.all(this.calls);
  }

  isHealthy(): Promise<boolean> {
    return Promise.resolve(!this.stopped);
  }

  depth(): Promise<number> {
    return Promise.resolve(this.waiting.size);
  }

  private wakeAt(id: string, slot: number): void {
    const name = `${id}:${slot}`;
    if (this.delayed.has(name)) return;
    const timer = setTimeout(() => {
      this.delayed.delete(name);
      void this.wake([id]);
    }, slot - Date.now());
    this.delayed.set(name, timer);
  }

  private pump(): void {
    while (this.handler && !this.stopped && this.waiting.size > 0 && this.calls.size < MAX_CALLS_AT_ONCE) {
      const call = this.handler(this.takeWaiting())
        // As with Bull, lanes whose service failed are left to the sweep.
        .catch(() => undefined)
        .finally(() => {
          this.calls.delete(call);
          this.pump();
        });
      this.calls.add(call);
    }
  }

  /** Those that have waited longest. */
  private takeWaiting(): string[] {
    const lanes: string[] = [];
    for (const id of this.waiting) {
      if (lanes.length === MAX_LANES_A_CALL) break;
      lanes.push(id);
      this.waiting.delete(id);
    }
    return lanes;
  }
}
