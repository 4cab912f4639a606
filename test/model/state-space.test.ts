import { expect, it } from 'vitest';
import { check, type Verdict } from './state-space.js';

/** A graph of letters: `a: work b` is a sure step from a to b, `a: ?fail b` one that need not happen. */
function verdictOf(...edges: string[]): Verdict {
  return check<string, never>({
    initial: 'a',
    key: (state) => state,
    kind: (name) => name,
    steps: (state) =>
      edges
        .map((edge) => /^(\w): (\??)(\w+) (\w)$/.exec(edge)!)
        .filter(([, from]) => from === state)
        .map(([, , need, name, next]) => ({ name: name!, isSure: need === '', next: next! })),
    breach: (_, { next }) => (next === 'x' ? 'x is never reached' : undefined),
    unfinished: (state) => (state === 'z' ? undefined : 'z is the end'),
  });
}

it.each<[what: string, edges: string[], rule: string | undefined, trace: string[]]>([
  ['what ends well', ['a: work b', 'b: work z'], undefined, []],
  [
    'a step that breaks a rule, by the shortest way',
    ['a: long b', 'b: on x', 'a: ?fail x'],
    'x is never reached',
    ['fail'],
  ],
  ['an end that is not one', ['a: work z', 'a: ?fail b'], 'z is the end', ['fail']],
  ['that a step which need not happen ends nothing', ['a: work b', 'b: ?help z'], 'z is the end', ['work']],
  ['a circle', ['a: work b', 'b: back c', 'c: on b'], 'every run ends', ['work', 'for ever:', 'back', 'on']],
  [
    'no circle that keeps a step waiting for ever',
    ['a: on b', 'b: back a', 'a: end z', 'b: end z'],
    undefined,
    [],
  ],
  [
    'a circle that keeps a step waiting only at times',
    ['a: on b', 'b: back a', 'b: end z'],
    'every run ends',
    ['for ever:', 'on', 'back'],
  ],
  ['no circle that a fault has to close', ['a: work z', 'z: ?fail a'], undefined, []],
])('finds %s', (_, edges, rule, trace) => {
  const { flaw } = verdictOf(...edges);
  expect(flaw?.rule).toBe(rule);
  expect(flaw?.trace ?? []).toEqual(trace);
});
