import { Injectable } from '@nestjs/common';
import type { AttemptReport } from '../../domain/attempt.js';
import type { Lane } from '../lane.js';
import type { LanePolicy } from './lane-policy.js';

/**
 * What all subscriptions together send to one destination is limited. The limit is kept where the address is known, in
 * the sender, and a lane that meets it backs off; here it hears that its destination takes requests again.
 */
@Injectable()
export class DestinationPolicy implements LanePolicy {
  onResult(lane: Lane, _: unknown, { target, startedMs }: AttemptReport): void {
    if (target !== 'notSent') lane.admitted(startedMs);
  }
}
