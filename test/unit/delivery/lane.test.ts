import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lane } from '../../../src/delivery/lane.js';

describe('Lane', () => {
  it('begins narrow, and widens with every success up to its concurrency', () => {
    const lane = new Lane('a', 64);
    expect(lane.room).toBe(16);
    for (let success = 0; success < 100; success++) lane.widen();
    expect(lane.room).toBe(64);
  });

  it('halves with every silence, but keeps trying', () => {
    const lane = new Lane('a', 64);
    for (const room of [8, 4, 4]) {
      lane.narrow();
      expect(lane.room).toBe(room);
    }
  });

  it('never exceeds a concurrency below its first window', () => {
    const lane = new Lane('a', 2);
    expect(lane.room).toBe(2);
    lane.narrow();
    lane.widen();
    expect(lane.room).toBe(2);
  });

  it('wants more when half of its window is free and something was left behind', () => {
    const lane = new Lane('a', 64);
    lane.sending = 16;
    expect(lane.wantsMore).toBe(false);
    lane.hasMore = true;
    lane.sending = 9;
    expect(lane.wantsMore).toBe(false);
    lane.sending = 8;
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
        expect(lane.room).toBeLessThanOrEqual(concurrency);
        expect(lane.wantsMore).toBe(true);
      }),
    );
  });
});
