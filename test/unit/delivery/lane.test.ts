import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lane } from '../../../src/delivery/lane.js';
import type { Subscription } from '../../../src/domain/subscription.js';

function laneAfter(successes: number, maxConcurrency = 64): Lane {
  const lane = new Lane('a', maxConcurrency);
  for (let success = 0; success < successes; success++) lane.window.onSuccess();
  return lane;
}

const subscriptionWith = (spacingMs: number | null) =>
  ({ tenantId: 't', limits: { spacingMs, maxConcurrency: null } }) as Subscription;

describe('Lane', () => {
  it('may claim what its window allows and is not claimed yet', () => {
    const lane = laneAfter(14);
    lane.reserve(10);
    lane.unreserve(3);
    expect(lane.capacity).toBe(16 - 7);
    lane.answered();
    expect(lane.capacity).toBe(16 - 6);
  });

  it('may claim ahead, but not where a rate limit gives out slots', () => {
    const lane = laneAfter(63);
    expect(lane.capacity).toBe(256);
    lane.pollBegins(subscriptionWith(100));
    expect(lane.capacity).toBe(64);
    lane.pollBegins(subscriptionWith(null));
    expect(lane.capacity).toBe(256);
  });

  it('claims no more while too many results wait for their record', () => {
    const lane = new Lane('a', 2);
    for (let index = 0; index < 16; index++) {
      lane.reserve(1);
      lane.answered();
    }
    expect(lane.capacity).toBe(0);
    lane.ended();
    expect(lane.capacity).toBe(1);
  });

  it('wants more when half of its window is free and something was left behind', () => {
    const lane = laneAfter(14);
    lane.reserve(16);
    expect(lane.wantsMore).toBe(false);
    lane.hasMore = true;
    for (let answered = 0; answered < 7; answered++) lane.answered();
    expect(lane.wantsMore).toBe(false);
    lane.answered();
    expect(lane.wantsMore).toBe(true);
  });

  it('always wants more once nothing is in flight any more', () => {
    const events = fc.constantFrom('onSuccess', 'onError', 'onTimeout');
    fc.assert(
      fc.property(fc.array(events), fc.integer({ min: 1, max: 100 }), (happened, maxConcurrency) => {
        const lane = new Lane('a', maxConcurrency);
        for (const event of happened) lane.window[event]();
        lane.hasMore = true;
        expect(lane.wantsMore).toBe(true);
        expect(lane.capacity).toBeGreaterThanOrEqual(1);
      }),
    );
  });

  it('backs off from a destination that takes nothing, twice as long each time, and then tries with one', () => {
    const lane = laneAfter(14);
    lane.hasMore = true;
    expect(lane.backOff(0)).toBe(true);
    expect(lane.waitsMs).toBeGreaterThan(0);
    expect(lane.wantsMore).toBe(false);
    expect(lane.backOff(0), 'it waits already').toBe(false);
    expect(lane.capacity).toBe(1);
    lane.admitted(performance.now() - 60_000);
    expect(lane.capacity, 'a request that began before the refusal').toBe(1);
    lane.admitted(performance.now() + 1);
    expect(lane.capacity).toBe(16);
  });

  it.each<[hasAnswered: boolean, durationMs: number, latency: string]>([
    [true, 0, 'fast'],
    [true, 999, 'fast'],
    [true, 1_000, 'slow'],
    [false, 1, 'slow'],
  ])('after an answer (%s) in %d ms is %s', (hasAnswered, durationMs, latency) => {
    const lane = new Lane('a', 1);
    expect(lane.measured(hasAnswered, durationMs)).toBe('unknown');
    expect(lane.latency).toBe(latency);
  });
});
