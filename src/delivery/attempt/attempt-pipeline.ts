import { Inject, Injectable } from '@nestjs/common';
import type { AttemptReport } from '../../domain/attempt.js';
import type { Clock } from '../../domain/clock.js';
import type { ClaimedDelivery } from '../../domain/delivery.js';
import { CLOCK } from '../clock.token.js';
import { HttpSender } from '../http-sender.js';
import { AuthoriseStep } from './authorise.step.js';
import { DecideStep } from './decide.step.js';
import { PrepareStep } from './prepare.step.js';
import { RecordStep } from './record.step.js';
import { CANNOT_SIGN, SignStep } from './sign.step.js';
import type { Claim, Decided, Released, Sent, Signed, Unreadable } from './stages.js';

/**
 * One attempt of one delivery: prepare → authorise → sign → send → classify and decide → record. A step takes what the
 * one before it gives, so none can be left out.
 */
@Injectable()
export class AttemptPipeline {
  constructor(
    private readonly prepare: PrepareStep,
    private readonly authorise: AuthoriseStep,
    private readonly sign: SignStep,
    private readonly sender: HttpSender,
    private readonly decide: DecideStep,
    private readonly recorder: RecordStep,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Up to the decision, which is still to be recorded: the target is done with the request. */
  async send(claimed: ClaimedDelivery, claim: Claim): Promise<Decided | Released | Unreadable> {
    const prepared = await this.prepare.run(claimed, claim);
    if (prepared.stage === 'released' || prepared.stage === 'unreadable') return prepared;
    try {
      if (prepared.stage === 'orphaned') return this.decide.orphaned(claimed);
      const authorised = await this.authorise.run(prepared, claim);
      if (authorised.stage === 'released') return authorised;
      const at = new Date(this.clock.now());
      const sent = await this.exchange(this.sign.run(authorised, at), at);
      if ('stage' in sent) return sent;
      return this.decide.run(authorised, sent);
    } finally {
      prepared.release();
    }
  }

  /** @throws when the result could not be recorded; the lease then sees to another attempt */
  record(decided: Decided): Promise<AttemptReport> {
    return this.recorder.run(decided);
  }

  /** Closes all connections. Requests that are still open end, and their deliveries are due again at once. */
  async close(): Promise<void> {
    this.decide.shutDown();
    await this.sender.close();
  }

  private async exchange(signed: Signed, startedAt: Date): Promise<Sent | Released> {
    const startedMs = performance.now();
    if (signed.stage === 'unsigned') return { startedAt, startedMs, result: CANNOT_SIGN };
    const result = await this.sender.send(signed.request);
    if (result.kind !== 'postponed') return { startedAt, startedMs, result };
    return { stage: 'released', hold: { reason: 'destination_limit', retryInMs: result.retryInMs } };
  }
}
