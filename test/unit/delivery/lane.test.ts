import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lane } from '../../../src/delivery/lane.js';

describe('Lane', () => {
  it('begins narrow, and widens with every success up to its concurrency', () => {
    const lane = new Lane('a', 64);
    expect(lane.room).toBe(2);
    for (let success = 0; success < 62; success++) lane.widen();
    expect(lane.room).toBe(64);
  });

  it('claims ahead once the target has accepted so many in a row, until it falls silent', () => {
    const lane = new Lane('a', 64);
    for (let success = 0; success < 63; success++) lane.widen();
    expect(lane.room).toBe(256);
    lane.narrow();
    expect(lane.room).toBe(32);
  });

  it.each<[what: string, change: (lane: Lane) => void]>([
    ['has a rate limit', (lane) => (lane.isPaced = true)],
    ['answered, but did not accept', (lane) => lane.falter()],
  ])('does not claim ahead of a target that %s', (_, change) => {
    const lane = new Lane('a', 64);
    for (let success = 0; success < 63; success++) lane.widen();
    change(lane);
    expect(lane.room).toBe(64);
  });

  it('lets no more in than the window has room for, in the order of coming', async () => {
    const lane = new Lane('a', 2);
    const went: number[] = [];
    const enter = (number: number) => lane.enter().then((mayGo) => mayGo && went.push(number));
    const all = [1, 2, 3, 4].map(enter);
    await Promise.all(all.slice(0, 2));
    expect(went).toEqual([1, 2]);
    lane.leave();
    await all[2];
    expect(went).toEqual([1, 2, 3]);
    lane.leave();
    await all[3];
    expect(went).toEqual([1, 2, 3, 4]);
  });

  it('sends away what waits, when the target falls silent', async () => {
    const lane = new Lane('a', 1);
    expect(await lane.enter()).toBe(true);
    const waiting = lane.enter();
    lane.narrow();
    expect(await waiting).toBe(false);
  });

  it('halves with every silence, but keeps trying', () => {
    const lane = new Lane('a', 64);
    for (let success = 0; success < 14; success++) lane.widen();
    for (const room of [8, 4, 2, 1, 1]) {
      lane.narrow();
      expect(lane.room).toBe(room);
    }
  });

  it('never exceeds a concurrency below its first window', () => {
    const lane = new Lane('a', 1);
    expect(lane.room).toBe(1);
    lane.narrow();
    expect(lane.room).toBe(1);
  });

  it('wants more when half of its window is free and something was left behind', () => {
    const lane = new Lane('a', 64);
    for (let success = 0; success < 14; success++) lane.widen();
    lane.claimed = 16;
    expect(lane.wantsMore).toBe(false);
    lane.hasMore = true;
    lane.claimed = 9;
    expect(lane.wantsMore).toBe(false);
    lane.claimed = 8;
    expect(lane.wantsMore).toBe(true);
  });

  it('always wants more once nothing is in flight any more', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean()), fc.integer({ min: 1, max: 100 }), (outcomes, concurrency) => {
        const lane = new Lane('a', concurrency);
        for (const success of outcomes) {
          if (success) lane.widen();
          else lane.narrow();
        }
        lane.hasMore = true;
        expect(lane.room).toBeGreaterThanOrEqual(1);
        expect(lane.room).toBeLessThanOrEqual(concurrency * 4);
        expect(lane.wantsMore).toBe(true);
      }),
    );
  });

  it('tries with one after a refusal, until a request is taken that began after it', () => {
    const lane = new Lane('a', 64);
    const before = performance.now() - 1;
    lane.refused(0);
    expect(lane.room).toBe(1);
    lane.admitted(before);
    expect(lane.room).toBe(1);
    lane.admitted(performance.now() + 1);
    expect(lane.room).toBe(2);
  });
});
