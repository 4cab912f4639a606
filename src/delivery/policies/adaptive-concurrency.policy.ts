import { Injectable } from '@nestjs/common';
import type { AttemptReport } from '../../domain/attempt.js';
import type { Lane } from '../lane.js';
import { WorkerCapacity } from '../worker-capacity.js';
import type { LanePolicy } from './lane-policy.js';

/** How many requests are open to a target, and how much of a worker its lane may have, follow how the target answers. */
@Injectable()
export class AdaptiveConcurrencyPolicy implements LanePolicy {
  constructor(private readonly capacity: WorkerCapacity) {}

  maxClaim(lane: Lane): number {
    return lane.capacity;
  }

  onResult(lane: Lane, _: unknown, { target, durationMs }: AttemptReport): void {
    const { window } = lane;
    // Where nothing was sent, there is no target to be careful with.
    if (target === 'notSent') {
      window.onSuccess();
      return;
    }
    this.capacity.changeClass(lane, lane.measured(target !== 'noResponse', durationMs), lane.latency);
    if (target === 'accepted') window.onSuccess();
    else if (target === 'answered') window.onError();
    else window.onTimeout();
  }
}
