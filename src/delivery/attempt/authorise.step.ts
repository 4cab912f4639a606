import { Injectable } from '@nestjs/common';
import { LanePolicies } from '../policies/lane-policies.js';
import type { Authorised, Claim, Prepared, Released } from './stages.js';

/** Asks whether the request may be sent now: whether it can end within its lease, and every rule of its lane. */
@Injectable()
export class AuthoriseStep {
  constructor(private readonly policies: LanePolicies) {}

  async run(
    { delivery, subscription }: Prepared,
    { lane, leaseEndsAt }: Claim,
  ): Promise<Authorised | Released> {
    const mayEndInTime = performance.now() + subscription.timeoutMs < leaseEndsAt;
    if (!mayEndInTime) return { stage: 'released', hold: null };
    const hold = await this.policies.maySend(lane, subscription);
    return hold ? { stage: 'released', hold } : { stage: 'authorised', delivery, subscription };
  }
}
