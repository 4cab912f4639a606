import { expect, it } from 'vitest';
import { AuthoriseStep } from '../../../../src/delivery/attempt/authorise.step.js';
import { Lane } from '../../../../src/delivery/lane.js';
import type { Hold } from '../../../../src/delivery/policies/lane-policy.js';
import type { LanePolicies } from '../../../../src/delivery/policies/lane-policies.js';
import { deliveryWith, subscriptionWith } from './subject.js';

const HOLD: Hold = { reason: 'inactive', retryInMs: null };

function authorised(hold: Hold | null, leaseMs: number) {
  const step = new AuthoriseStep({ maySend: () => Promise.resolve(hold) } as unknown as LanePolicies);
  return step.run(
    {
      stage: 'prepared',
      delivery: deliveryWith(),
      subscription: subscriptionWith(),
      release: () => undefined,
    },
    {
      lane: new Lane('a', 1),
      subscription: undefined,
      leaseEndsAt: performance.now() + leaseMs,
      latency: 'fast',
    },
  );
}

it('lets a request go that can end within its lease, and that no rule holds', async () => {
  expect(await authorised(null, 60_000)).toMatchObject({ stage: 'authorised' });
});

it('releases a delivery whose request could outlive its lease', async () => {
  expect(await authorised(null, 9_999)).toEqual({ stage: 'released', hold: null });
});

it('releases a delivery with the rule that holds it', async () => {
  expect(await authorised(HOLD, 60_000)).toEqual({ stage: 'released', hold: HOLD });
});
