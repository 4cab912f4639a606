import fc from 'fast-check';
import { expect, it } from 'vitest';
import { exceededLimit } from '../../../src/domain/json-cost.js';

const NO_LIMITS = { depth: Infinity, pieces: Infinity };
const exceeded = (json: string, limits: Partial<typeof NO_LIMITS>) =>
  exceededLimit(Buffer.from(json), { ...NO_LIMITS, ...limits });

it.each([
  ['1', 0, false],
  ['[]', 0, true],
  ['[]', 1, false],
  ['[{}]', 1, true],
  ['[{}]', 2, false],
  ['[[],[],[]]', 2, false],
  ['"[[[["', 0, false],
  ['["\\"[[[["]', 1, false],
  ['["\\\\",[[]]]', 2, true],
  ['"[[[[', 0, false],
  ['"\\', 0, false],
  ['', 0, false],
  ['['.repeat(10_000), 64, true],
  ['{"a":'.repeat(10_000), 9_999, true],
  ['{"a":'.repeat(10_000), 10_000, false],
])('%j is deeper than %i: %s', (json, depth, expected) => {
  expect(exceeded(json, { depth })).toBe(expected ? 'depth' : null);
});

it.each([
  ['1', 0, false],
  ['"a"', 0, true],
  ['"a"', 1, false],
  ['[]', 0, true],
  ['[1,2,3,4,5,6,7,8,9]', 1, true],
  ['[1,2,3,4,5,6,7,8,9]', 2, false],
  ['{"a":"b"}', 2, true],
  ['{"a":"b"}', 3, false],
  ['{"a":{},"b":[]}', 5, true],
  ['{"a":{},"b":[]}', 6, false],
  ['"\\",[{,"', 1, false],
])('%j has more than %i pieces: %s', (json, pieces, expected) => {
  expect(exceeded(json, { pieces })).toBe(expected ? 'pieces' : null);
});

const membersNamed = (names: (string | number)[]) => `[${names.map((name) => `{"${name}":1}`).join()}]`;
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

const members = 20_000;
it.each<[string, string, number]>([
  ['of 1,000 names cost no more than strings', membersNamed(upTo(members).map((n) => n % 1_000)), 0],
  ['of any names are not asked below 10,000', membersNamed(upTo(10_000)), 0],
  ['of ever new names behind that and 1,000 more cost six', membersNamed(upTo(members)), 9_000],
  [
    'of one object cost the same',
    `[{${upTo(members)
      .map((n) => `"${n}":1`)
      .join()}}]`,
    9_000,
  ],
  [
    'with whitespace before the colon too',
    `[{${upTo(members)
      .map((n) => `"${n}" :1`)
      .join()}}]`,
    9_000,
  ],
  ['are not what is in strings', JSON.stringify(upTo(members).map((n) => ({ a: `"${n}":` }))), 0],
])('members %s', (_, json, rare) => {
  const { pieces } = sizeOf(JSON.parse(json), json);
  expect(exceeded(json, { pieces: pieces + 5 * rare })).toBeNull();
  expect(exceeded(json, { pieces: pieces + 5 * rare - 1 / 8 })).toBe('pieces');
});

it('knows the depth and the pieces of any JSON exactly', () => {
  fc.assert(
    fc.property(fc.json(), (json) => {
      const { depth, pieces } = sizeOf(JSON.parse(json), json);
      expect(exceeded(json, { depth, pieces })).toBeNull();
      if (depth > 0) expect(exceeded(json, { depth: depth - 1 })).toBe('depth');
      if (pieces > 0) expect(exceeded(json, { pieces: pieces - 1 / 8 })).toBe('pieces');
    }),
    { numRuns: 500 },
  );
});

/** By another way: what is in strings taken out of the text first, members counted as written. */
function sizeOf(value: unknown, json: string): { depth: number; pieces: number } {
  const bare = json.replace(/"(?:\\.|[^"\\])*"/g, '§');
  const count = (pattern: RegExp) => bare.match(pattern)?.length ?? 0;
  return { depth: depthOf(value), pieces: count(/§|[[{]/g) + count(/,/g) / 8 };
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

it('takes time that grows with the bytes alone, also of what is not JSON', () => {
  const leastMs = (size: number): number => {
    const text = `${membersNamed(upTo(10_000))}"${'a'.repeat(size)}"${':'.repeat(size)}`;
    const bytes = Buffer.from(text);
    const times = Array.from({ length: 10 }, () => {
      const before = performance.now();
      exceededLimit(bytes, NO_LIMITS);
      return performance.now() - before;
    });
    return Math.min(...times);
  };
  // As many bytes ten times: a hundred times as long, if each colon read the string before it again.
  expect(leastMs(500_000) / leastMs(50_000)).toBeLessThan(30);
});
