import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventTypeIndex, isEventType, isEventTypePattern } from '../../../src/domain/event-type.js';

function matchesEventType(patterns: readonly string[], eventType: string): boolean {
  const index = new EventTypeIndex<string>();
  index.add('it', patterns);
  return index.matching(eventType).length === 1;
}

describe('isEventType and isEventTypePattern', () => {
  it.each<[unknown, boolean, boolean]>([
    ['user.created', true, true],
    ['github.pull_request.opened', true, true],
    ['a', true, true],
    ['9', true, true],
    ['orders/create:v2-beta', true, true],
    ['x'.repeat(256), true, true],
    ['x'.repeat(257), false, false],
    ['*', false, true],
    ['user.*', false, true],
    ['*.created', false, true],
    ['', false, false],
    ['.user', false, false],
    ['_user', false, false],
    ['-user', false, false],
    ['user created', false, false],
    ['user\n', false, false],
    ['usér', false, false],
    ['user.?', false, false],
    ['user\u0000', false, false],
    [null, false, false],
    [['user'], false, false],
  ])('%j: type %s, pattern %s', (value, type, pattern) => {
    expect(isEventType(value)).toBe(type);
    expect(isEventTypePattern(value)).toBe(pattern);
  });
});

describe('EventTypeIndex', () => {
  it.each<[string[], string, boolean]>([
    [[], 'anything', true],
    [['user.created'], 'user.created', true],
    [['user.created'], 'user.createdx', false],
    [['user.created'], 'user_created', false],
    [['*'], 'x', true],
    [['user.*'], 'user.created', true],
    [['user.*'], 'user.profile.updated', true],
    [['user.*'], 'user', false],
    [['user.*'], 'user.', false],
    [['user.*'], 'superuser.created', false],
    [['*.created'], 'user.created', true],
    [['*.created'], '.created', false],
    [['*.created'], 'user.created.twice', false],
    [['user.*.updated'], 'user.profile.updated', true],
    [['user.*.updated'], 'user.updated', false],
    [['user.*.updated'], 'user..updated', false],
    [['a*a'], 'aa', false],
    [['a*a'], 'aaa', true],
    [['*a*'], 'bab', true],
    [['*a*'], 'ab', false],
    [['*a*'], 'aab', true],
    [['**'], 'x', false],
    [['**'], 'xy', true],
    [['a**'], 'ab', false],
    [['a***b'], 'a123b', true],
    [['a***b'], 'a12b', false],
    [['*ab*ab'], 'xabab', false],
    [['*ab*ab'], 'xab.ab', true],
    [['order.*', 'user.created'], 'user.created', true],
    [['order.*', 'invoice.paid'], 'user.created', false],
    [['USER.*'], 'user.created', false],
  ])('%j on %s: %s', (patterns, eventType, expected) => {
    expect(matchesEventType(patterns, eventType)).toBe(expected);
  });

  it('agrees with the rule written down naively', () => {
    const text = (alphabet: string[], maxLength: number) =>
      fc.string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength });
    fc.assert(
      fc.property(text(['a', 'b', '.', '*'], 8), text(['a', 'b', '.'], 10), (pattern, eventType) => {
        expect(matchesEventType([pattern], eventType)).toBe(matchesNaively(pattern, eventType));
      }),
      { numRuns: 3_000 },
    );
  });

  it('matches what a pattern was filled in to', () => {
    const part = fc.stringMatching(/^[a-z.]{0,10}$/);
    const filling = fc.stringMatching(/^[a-z.]{1,10}$/);
    fc.assert(
      fc.property(part, fc.array(fc.tuple(filling, part), { minLength: 1, maxLength: 10 }), (first, rest) => {
        const pattern = first + rest.map(([, literal]) => `*${literal}`).join('');
        expect(matchesEventType([pattern], first + rest.flat().join(''))).toBe(true);
      }),
    );
  });

  it('answers a hostile pattern in time that grows with its length alone', () => {
    const text = `${'a'.repeat(40)}b`;
    const leastMs = (stars: number): number => {
      const pattern = `${'*a'.repeat(stars)}*c*b`;
      const times = Array.from({ length: 20 }, () => {
        const started = performance.now();
        for (let i = 0; i < 100; i++) expect(matchesEventType([pattern], text)).toBe(false);
        return performance.now() - started;
      });
      return Math.min(...times);
    };
    // A backtracking matcher would try 4 million ways in place of 10 thousand.
    expect(leastMs(6) / leastMs(3)).toBeLessThan(20);
  });
});

function matchesNaively(pattern: string, eventType: string): boolean {
  if (pattern === '') return eventType === '';
  if (pattern.startsWith('*')) {
    return Array.from(eventType, (_, taken) => eventType.slice(taken + 1)).some((rest) =>
      matchesNaively(pattern.slice(1), rest),
    );
  }
  return pattern[0] === eventType[0] && matchesNaively(pattern.slice(1), eventType.slice(1));
}

it('an index finds each of many subscribers once', () => {
  const index = new EventTypeIndex<number>();
  index.add(1, []);
  index.add(2, ['user.created', 'user.created', 'user.*', '*']);
  index.add(3, ['order.*']);
  index.add(4, ['user.created']);
  expect(index.matching('user.created').toSorted()).toEqual([1, 2, 4]);
  expect(index.matching('order.paid').toSorted()).toEqual([1, 2, 3]);
  expect(new EventTypeIndex().matching('a')).toEqual([]);
});
