import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isUuid, uuidTime, uuidV7, uuidV7Floor } from '../../../src/domain/uuid-v7.js';

const MAX_MS = 2 ** 48 - 1;
const times = fc.integer({ min: 0, max: MAX_MS });

describe('uuidV7', () => {
  it('has the layout of RFC 9562 5.7: the test vector of its appendix A.6', () => {
    expect(uuidV7(0x017f22e279b0)).toMatch(/^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('carries its time and lies between the floor of its millisecond and the next', () => {
    fc.assert(
      fc.property(times, (ms) => {
        const id = uuidV7(ms);
        expect(isUuid(id)).toBe(true);
        expect(uuidTime(id)).toBe(ms);
        expect(id > uuidV7Floor(ms)).toBe(true);
        if (ms < MAX_MS) expect(id < uuidV7Floor(ms + 1)).toBe(true);
      }),
    );
  });

  it('does not repeat within a millisecond, over many refills of its random bytes', () => {
    const ids = new Set(Array.from({ length: 20_000 }, () => uuidV7(1_763_800_000_000)));
    expect(ids.size).toBe(20_000);
  });

  it('sets every random bit both ways', () => {
    const seen = { or: 0n, and: (1n << 128n) - 1n };
    for (let i = 0; i < 2_000; i++) {
      const bits = BigInt(`0x${uuidV7(0).replaceAll('-', '')}`);
      seen.or |= bits;
      seen.and &= bits;
    }
    expect(seen.and).toBe(0x0000_0000_0000_7000_8000_0000_0000_0000n);
    expect(seen.or).toBe(0x0000_0000_0000_7fff_bfff_ffff_ffff_ffffn);
  });

  it('uses no random byte twice', () => {
    const ids = Array.from({ length: 50 }, () => Buffer.from(uuidV7(0).replaceAll('-', ''), 'hex'));
    // The bytes that are random throughout; two that agree in 50 ids come from one source.
    const columns = [7, 9, 10, 11, 12, 13, 14, 15].map((at) => ids.map((id) => id[at]).join());
    expect(new Set(columns).size).toBe(columns.length);
  });

  it.each([-1, 1.5, Number.NaN, MAX_MS + 1])('refuses the time %s', (ms) => {
    expect(() => uuidV7(ms)).toThrow(RangeError);
    expect(() => uuidV7Floor(ms)).toThrow(RangeError);
  });
});

describe('uuidV7Floor', () => {
  it.each([
    [0, '00000000-0000-0000-0000-000000000000'],
    [0x017f22e279b0, '017f22e2-79b0-0000-0000-000000000000'],
    [MAX_MS, 'ffffffff-ffff-0000-0000-000000000000'],
  ])('of %i is %s', (ms, floor) => {
    expect(uuidV7Floor(ms)).toBe(floor);
    expect(uuidTime(floor)).toBe(ms);
  });
});

describe('isUuid', () => {
  it.each<[unknown, boolean]>([
    ['017f22e2-79b0-7cc3-98c4-dc0c0c07398f', true],
    ['017F22E2-79B0-7CC3-98C4-DC0C0C07398F', true],
    ['00000000-0000-0000-0000-000000000000', true],
    ['c232ab00-9414-11ec-b3c8-9f6bdeced846', true],
    ['017f22e279b07cc398c4dc0c0c07398f', false],
    ['{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}', false],
    ['017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n', false],
    ['g17f22e2-79b0-7cc3-98c4-dc0c0c07398f', false],
    ['', false],
    [undefined, false],
    [['017f22e2-79b0-7cc3-98c4-dc0c0c07398f'], false],
  ])('%j: %s', (value, expected) => expect(isUuid(value)).toBe(expected));
});
