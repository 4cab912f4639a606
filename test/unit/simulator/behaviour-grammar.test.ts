import { describe, expect, it } from 'vitest';
import {
  BehaviourSyntaxError,
  stepsOfBehaviour,
  stepsOfTarget,
} from '../../../src/simulator/behaviour-grammar.js';
import type { Step, StepOutcome } from '../../../src/simulator/behaviours.js';
import { seededRandom } from '../../../src/simulator/seeded-random.js';

const surroundings = (fixed: { random?: () => number; now?: () => number } = {}) => ({
  random: () => 0.5,
  now: () => 0,
  ...fixed,
});

/** `pass`, a status (or `none`), a wait such as `250ms`, or a header's name. */
function named(outcome: StepOutcome): string {
  if (outcome === undefined) return 'pass';
  if ('delayMs' in outcome) return `${outcome.delayMs}ms`;
  if ('header' in outcome) return outcome.header.join(': ');
  return String(outcome.status ?? 'none');
}
const onePass = (steps: Step[]) => steps.map((step) => named(step())).join(' ');

describe('the grammar of a target', () => {
  it.each([
    ['/', ''],
    ['/orders', ''],
    ['/ok', '200'],
    ['/ok/status/503', '200'],
    ['/status/503/orders', '503'],
    ['/status', '200'],
    ['/gone/orders', '410'],
    ['/delay/20/fail/0/orders', '20ms pass'],
    ['/delay/orders', '250ms'],
    ['/orders/gone', ''],
    ['/orders?delay=30&status=502', '30ms 502'],
    ['/status/503?delay=30', '30ms 503'],
    ['/ok?hang', 'none 200'],
    ['/ok?unrelated=1', '200'],
    ['/ok?retry-after=Wed, 21 Oct 2026 07:28:00 GMT', 'retry-after: Wed, 21 Oct 2026 07:28:00 GMT 200'],
    ['//delay//5//', '5ms'],
    ['/%E0%A4%A', ''],
    ['/constructor/__proto__?toString=1', ''],
  ])('%s makes the steps "%s"', (target, steps) => {
    expect(onePass(stepsOfTarget(target, surroundings()))).toBe(steps);
  });

  it.each(['/status/999', '/status/200,', '/fail/101', '/rate-limit/0', '/delay/1e3', '/ok?delay=soon'])(
    '%s is refused',
    (target) => {
      expect(() => stepsOfTarget(target, surroundings())).toThrow(BehaviourSyntaxError);
    },
  );

  it.each(['fial/15', 'ok/orders', 'delay/5/orders'])('"%s" is no behaviour by itself', (text) => {
    expect(() => stepsOfBehaviour(text, surroundings())).toThrow(/no behaviour is called/);
  });

  it.each([
    ['fail-first/2', '500'],
    ['/rate-limit/3?delay=5', '5ms pass'],
  ])('"%s" is a behaviour by itself', (text, steps) => {
    expect(onePass(stepsOfBehaviour(text, surroundings()))).toBe(steps);
  });
});

describe('steps with a memory', () => {
  it.each([
    ['/fail-first/2', ['500', '500', 'pass', 'pass']],
    ['/fail-first/0', ['pass', 'pass']],
    ['/status/200,500,204', ['200', '500', '204', '200', '500']],
    ['/rate-limit/2', ['pass', 'pass', '429', '429']],
  ])('%s gives %j in turn', (target, outcomes) => {
    const steps = stepsOfTarget(target, surroundings());
    expect(outcomes.map(() => onePass(steps))).toEqual(outcomes);
  });

  it('rate-limit lets the next through 1,000 ms after the oldest it counts, and not 1 ms before', () => {
    let now = 0;
    const steps = stepsOfTarget('/rate-limit/2', surroundings({ now: () => now }));
    const at = (ms: number) => ((now = ms), onePass(steps));
    expect([0, 400, 999, 1000, 1399, 1400, 1401].map(at)).toEqual([
      ...['pass', 'pass', '429', 'pass', '429', 'pass', '429'],
    ]);
  });

  it.each([
    [0.1499, '500'],
    [0.15, 'pass'],
  ])('fail/15 with the random number %d: %s', (random, outcome) => {
    expect(onePass(stepsOfTarget('/fail/15', surroundings({ random: () => random })))).toBe(outcome);
  });
});

describe('seededRandom', () => {
  const draw = (seed: number, name: string) => Array.from({ length: 10_000 }, seededRandom(seed, name));

  it('repeats itself for a seed and a name, and differs for others', () => {
    expect(draw(7, '/a')).toEqual(draw(7, '/a'));
    expect(draw(7, '/a')).not.toEqual(draw(8, '/a'));
    expect(draw(7, '/a')).not.toEqual(draw(7, '/b'));
  });

  it.each(['/a', '/fail/15/orders'])('is uniform enough on %s: 15 %% is 15 %%', (name) => {
    const share = draw(1, name).filter((value) => value < 0.15).length / 10_000;
    expect(share).toBeGreaterThan(0.135);
    expect(share).toBeLessThan(0.165);
  });
});
