import { expect, it } from 'vitest';
import { rangeOf } from '../../../src/statistics/statistics-range.js';

const NOW = Date.parse('2026-01-31T12:34:56Z');
const hoursAgo = (hours: number): number => NOW - hours * 3_600_000;
const shown = ({ fromMs, toMs }: { fromMs: number; toMs: number }): string[] =>
  [fromMs, toMs].map((ms) => new Date(ms).toISOString().slice(0, 16));

it.each([
  ['hour', {}, 72, ['2026-01-30T12:00', '2026-01-31T13:00']],
  ['day', {}, 72, ['2026-01-30T00:00', '2026-02-01T00:00']],
  ['minute', {}, 72, ['2026-01-30T12:34', '2026-01-31T12:35']],
  // As much of the day as there is.
  ['minute', {}, 2, ['2026-01-31T10:35', '2026-01-31T12:35']],
  ['hour', { to: '2026-01-20T00:30:00Z' }, 72, ['2026-01-19T01:00', '2026-01-20T01:00']],
] as const)(
  'an interval of a %s with %o, minutes kept for %i hours, is %j',
  (interval, asked, kept, range) => {
    expect(shown(rangeOf({ interval, ...asked }, NOW, hoursAgo(kept)))).toEqual(range);
  },
);

it('says why minutes from before they are kept are not there', () => {
  const asked = { interval: 'minute', to: '2020-01-01T00:00:00Z' } as const;
  expect(() => rangeOf(asked, NOW, hoursAgo(72))).toThrow(/take hour/);
});
