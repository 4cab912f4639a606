import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { FairSemaphore } from './fair-semaphore.js';
import type { Lane } from './lane.js';

/** WORKER_COUNT deliveries that this process may have in flight, shared by its lanes. */
@Injectable()
export class WorkerCapacity extends FairSemaphore<Lane> {
  constructor(config: Config) {
    super(config.workerCount, (lane) => lane.tenantId);
  }
}
