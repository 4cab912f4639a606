import { Process, Processor } from '@nestjs/bull';
import type { Job } from 'bull';
import { BullLaneScheduler, LaneJob, LANES_QUEUE } from './bull-lane-scheduler.js';

/** Jobs at work in one process. A job only claims; what it claimed is sent while the next job is served. */
const CONCURRENCY = 16;

/** Takes wake-ups from Bull. Present in the processes that deliver, and in no other. */
@Processor(LANES_QUEUE)
export class LaneProcessor {
  constructor(private readonly scheduler: BullLaneScheduler) {}

  @Process({ concurrency: CONCURRENCY })
  async process(job: Job<LaneJob>): Promise<void> {
    await this.scheduler.take(job.data);
  }
}
