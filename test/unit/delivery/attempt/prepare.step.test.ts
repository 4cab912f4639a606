import { expect, it } from 'vitest';
import { PrepareStep } from '../../../../src/delivery/attempt/prepare.step.js';
import { Lane } from '../../../../src/delivery/lane.js';
import type { PayloadLoader } from '../../../../src/delivery/payload-loader.js';
import type { Subscription } from '../../../../src/domain/subscription.js';
import type { SubscriptionCache } from '../../../../src/persistence/subscription-cache.js';
import { deliveryWith, SILENT, subscriptionWith } from './subject.js';

const release = () => undefined;
const loaded = () => Promise.resolve({ delivery: deliveryWith(), release });
const atClaim = subscriptionWith({ timeoutMs: 1 });
const now = subscriptionWith({ timeoutMs: 2 });

function prepared(
  find: () => Promise<Subscription | undefined>,
  load: () => Promise<unknown> = loaded,
  claim: { subscription: Subscription | undefined } = { subscription: atClaim },
) {
  const step = new PrepareStep(
    { load } as unknown as PayloadLoader,
    { find } as unknown as SubscriptionCache,
    SILENT,
  );
  return step.run(deliveryWith(), { lane: new Lane('a', 1), ...claim, leaseEndsAt: 0, latency: 'fast' });
}

it.each<[what: string, outcome: () => ReturnType<typeof prepared>, expected: object]>([
  ['as it is now', () => prepared(() => Promise.resolve(now)), { stage: 'prepared', subscription: now }],
  [
    'as it was, when it cannot be read',
    () => prepared(() => Promise.reject(new Error('no database'))),
    { stage: 'prepared', subscription: atClaim },
  ],
  ['deleted since', () => prepared(() => Promise.resolve(undefined)), { stage: 'orphaned', release }],
  [
    'deleted before',
    () => prepared(() => Promise.resolve(now), loaded, { subscription: undefined }),
    { stage: 'orphaned', release },
  ],
])('takes the subscription %s', async (_, outcome, expected) => {
  expect(await outcome()).toMatchObject(expected);
});

it('releases a delivery whose payload found no memory before the process stopped', async () => {
  const stopped = () => Promise.resolve(null);
  expect(await prepared(() => Promise.resolve(now), stopped)).toEqual({ stage: 'released', hold: null });
});

it('leaves a delivery whose payload cannot be read to the sweep', async () => {
  const unreadable = () => Promise.reject(new Error('gone'));
  expect(await prepared(() => Promise.resolve(now), unreadable)).toEqual({ stage: 'unreadable' });
});
