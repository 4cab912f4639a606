import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConcurrencyWindow } from '../../../src/delivery/concurrency-window.js';

function windowAfter(successes: number, maximum = 64): ConcurrencyWindow {
  const window = new ConcurrencyWindow(maximum);
  for (let success = 0; success < successes; success++) window.onSuccess();
  return window;
}

describe('ConcurrencyWindow', () => {
  it('begins narrow, and widens with every success up to its maximum', () => {
    expect([0, 1, 61, 62, 63].map((successes) => windowAfter(successes).size)).toEqual([2, 3, 63, 64, 64]);
  });

  it.each<
    [what: string, after: (window: ConcurrencyWindow) => void, mayClaimAhead: boolean, claimable: number]
  >([
    ['is as wide as it gets', () => undefined, true, 256],
    ['has a rate limit', () => undefined, false, 64],
    ['answered, but did not accept', (window) => window.onError(), true, 64],
    ['did not answer', (window) => window.onTimeout(), true, 32],
  ])('says how much a lane may claim whose window %s', (_, after, mayClaimAhead, claimable) => {
    const window = windowAfter(63);
    after(window);
    expect(window.claimable(mayClaimAhead)).toBe(claimable);
  });

  it('lets in as many requests as may be open, in the order of coming', async () => {
    const window = new ConcurrencyWindow(2);
    const went: number[] = [];
    const enter = (number: number) => window.enter().then((mayGo) => mayGo && went.push(number));
    const all = [1, 2, 3, 4].map(enter);
    await Promise.all(all.slice(0, 2));
    expect(went).toEqual([1, 2]);
    window.leave();
    await all[2];
    expect(went).toEqual([1, 2, 3]);
    window.leave();
    await all[3];
    expect(went).toEqual([1, 2, 3, 4]);
  });

  it('rejects what waits when the target does not answer', async () => {
    const window = new ConcurrencyWindow(1);
    expect(await window.enter()).toBe(true);
    const waiting = window.enter();
    window.onTimeout();
    expect(await waiting).toBe(false);
  });

  it('halves with every time-out, but keeps trying', () => {
    const window = windowAfter(14);
    const sizes = [1, 2, 3, 4, 5].map(() => {
      window.onTimeout();
      return window.size;
    });
    expect(sizes).toEqual([8, 4, 2, 1, 1]);
  });

  it('stays between 1 and its maximum, whatever the target does', () => {
    const events = fc.constantFrom('onSuccess', 'onError', 'onTimeout');
    fc.assert(
      fc.property(fc.array(events), fc.integer({ min: 1, max: 100 }), (happened, maximum) => {
        const window = new ConcurrencyWindow(maximum);
        for (const event of happened) window[event]();
        expect(window.size).toBeGreaterThanOrEqual(1);
        expect(window.size).toBeLessThanOrEqual(maximum);
        expect(window.claimable(true)).toBeLessThanOrEqual(maximum * 4);
        expect(window.claimable(false)).toBe(window.size);
      }),
    );
  });
});
