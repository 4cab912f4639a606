import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  InvalidRetryPolicy,
  NAMED_POLICIES,
  nextDelayMs,
  resolveRetryPolicy,
  type RetryPolicy,
} from '../../../src/domain/retry-policy.js';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const noJitter = () => 0.5;

/** The seconds waited after failure 1, 2, … until the policy is exhausted. */
function waits(policy: RetryPolicy, random = noJitter): number[] {
  const seconds: number[] = [];
  for (let failures = 1; ; failures++) {
    const delayMs = nextDelayMs(policy, failures, random);
    if (delayMs === null) return seconds;
    seconds.push(delayMs / 1000);
  }
}

describe('named policies', () => {
  it.each([
    [
      'standard',
      11,
      [5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR],
    ],
    ['fast', 7, [1, 2, 4, 8, 16, 32]],
    ['patient', 6, [10, 30, 60, 5 * MINUTE, 15 * MINUTE]],
    ['inbox', 5, [5, 10, 20, 40]],
    ['brief', 5, [1, 2, 4, 8]],
  ])('%s: %i attempts', (name, attempts, seconds) => {
    const policy = resolveRetryPolicy(name);
    expect(waits(policy)).toEqual(seconds);
    expect(policy.delaysMs.length + 1).toBe(attempts);
    expect(policy.jitter).toBe(0.2);
  });

  it('are these five', () => {
    expect(Object.keys(NAMED_POLICIES)).toEqual(['standard', 'fast', 'patient', 'inbox', 'brief']);
  });

  it('stray by 20 % either way', () => {
    const { standard } = NAMED_POLICIES;
    expect(nextDelayMs(standard, 1, () => 0)).toBe(4_000);
    expect(nextDelayMs(standard, 1, noJitter)).toBe(5_000);
    expect(nextDelayMs(standard, 1, () => 1 - Number.EPSILON)).toBe(6_000);
  });
});

describe('resolveRetryPolicy', () => {
  it.each([
    ['an empty schedule is one attempt', { schedule: [] }, [], 0],
    ['a schedule has no jitter', { schedule: [1, 2, 4] }, [1, 2, 4], 0],
    ['unless it is given', { schedule: [0.5], jitter: 1 }, [0.5], 1],
    [
      'an exponential rule is capped',
      { base_seconds: 5, factor: 2, max_seconds: 300, max_attempts: 9 },
      [5, 10, 20, 40, 80, 160, 300, 300],
      0.2,
    ],
    [
      'factor 1 is a constant delay',
      { base_seconds: 7, factor: 1, max_seconds: 7, max_attempts: 4, jitter: 0 },
      [7, 7, 7],
      0,
    ],
    ['one attempt has no delay', { base_seconds: 1, factor: 2, max_seconds: 1, max_attempts: 1 }, [], 0.2],
    [
      'the steepest rule does not overflow',
      { base_seconds: 2_592_000, factor: 100, max_seconds: 2_592_000, max_attempts: 100 },
      Array<number>(99).fill(2_592_000),
      0.2,
    ],
    ['no delay at all', { base_seconds: 0, factor: 100, max_seconds: 0, max_attempts: 3 }, [0, 0], 0.2],
  ])('%s', (_, input, seconds, jitter) => {
    const policy = resolveRetryPolicy(input);
    expect(waits(policy)).toEqual(seconds);
    expect(policy.jitter).toBe(jitter);
  });

  const exponential = { base_seconds: 1, factor: 2, max_seconds: 60, max_attempts: 5 };

  it.each<[unknown, string, RegExp]>([
    ['slow', 'retry_policy', /standard, fast, patient, inbox, brief/],
    ['constructor', 'retry_policy', /standard/],
    [null, 'retry_policy', /policy name/],
    [undefined, 'retry_policy', /policy name/],
    [5, 'retry_policy', /policy name/],
    [[1, 2], 'retry_policy', /policy name/],
    [{}, 'retry_policy.base_seconds', /number/],
    [{ schedule: 5 }, 'retry_policy.schedule', /list of seconds/],
    [{ schedule: [1, 2, -1] }, 'retry_policy.schedule[2]', /from 0 to 2592000 seconds/],
    [{ schedule: [1, Number.NaN] }, 'retry_policy.schedule[1]', /number/],
    [{ schedule: [1, '2'] }, 'retry_policy.schedule[1]', /number/],
    [{ schedule: Array<number>(1) }, 'retry_policy.schedule[0]', /number/],
    [{ schedule: [30 * 24 * HOUR + 1] }, 'retry_policy.schedule[0]', /2592000/],
    [{ schedule: Array<number>(100).fill(1) }, 'retry_policy.schedule', /at most 99 delays/],
    [{ schedule: [1], jitter: 1.1 }, 'retry_policy.jitter', /from 0 to 1/],
    [{ schedule: [1], jitter: -0.1 }, 'retry_policy.jitter', /from 0 to 1/],
    [{ schedule: [1], jitter: null }, 'retry_policy.jitter', /from 0 to 1/],
    [{ schedule: [1], max_attempts: 3 }, 'retry_policy.max_attempts', /schedule, jitter/],
    [{ ...exponential, tries: 3 }, 'retry_policy.tries', /base_seconds, factor/],
    [{ ...exponential, base_seconds: -1 }, 'retry_policy.base_seconds', /from 0/],
    [{ ...exponential, factor: 0.5 }, 'retry_policy.factor', /from 1 to 100/],
    [{ ...exponential, factor: Infinity }, 'retry_policy.factor', /from 1 to 100/],
    [{ ...exponential, max_seconds: 0.5 }, 'retry_policy.max_seconds', /not be less than base_seconds/],
    [{ ...exponential, max_seconds: undefined }, 'retry_policy.max_seconds', /number/],
    [{ ...exponential, max_attempts: 101 }, 'retry_policy.max_attempts', /from 1 to 100/],
    [{ ...exponential, max_attempts: 0 }, 'retry_policy.max_attempts', /from 1 to 100/],
    [{ ...exponential, max_attempts: 2.5 }, 'retry_policy.max_attempts', /whole number/],
  ])('refuses %j, naming %s', (input, path, message) => {
    const resolve = () => resolveRetryPolicy(input);
    expect(resolve).toThrow(InvalidRetryPolicy);
    expect(resolve).toThrow(expect.objectContaining({ path, message: expect.stringMatching(message) }));
  });

  it.each([
    [{ schedule: [1, 0.9] }, 'retry_policy.schedule[1]'],
    [{ ...exponential, base_seconds: 0.9 }, 'retry_policy.base_seconds'],
  ])('refuses delays below the least: %j', (input, path) => {
    const resolve = () => resolveRetryPolicy(input, 1);
    expect(resolve).toThrow(
      expect.objectContaining({ path, message: 'must be a number from 1 to 2592000 seconds' }),
    );
  });

  it('takes the limits themselves', () => {
    expect(resolveRetryPolicy({ schedule: [1] }, 1).delaysMs).toEqual([1_000]);
    const schedule = Array<number>(99).fill(30 * 24 * HOUR);
    expect(resolveRetryPolicy({ schedule }).delaysMs).toHaveLength(99);
    expect(resolveRetryPolicy({ ...exponential, max_attempts: 100 }).delaysMs).toHaveLength(99);
  });
});

describe('nextDelayMs', () => {
  it.each([0, -1, 1.5, Number.NaN])('refuses %s failures', (failures) => {
    expect(() => nextDelayMs(NAMED_POLICIES.fast, failures, noJitter)).toThrow(RangeError);
  });

  it('stays within the jitter around its delay and never passes the cap by more', () => {
    const policies = fc.record({
      base_seconds: fc.double({ min: 0, max: 100, noNaN: true }),
      factor: fc.double({ min: 1, max: 100, noNaN: true }),
      max_seconds: fc.double({ min: 100, max: 1e5, noNaN: true }),
      max_attempts: fc.integer({ min: 2, max: 100 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 99 }), randoms, (input, failures, random) => {
        const delayMs = nextDelayMs(resolveRetryPolicy(input), failures, () => random);
        if (failures >= input.max_attempts) {
          expect(delayMs).toBeNull();
          return;
        }
        const exact = 1000 * Math.min(input.base_seconds * input.factor ** (failures - 1), input.max_seconds);
        // 2 ms: the delay is rounded once before the jitter (which may double it) and once after.
        expect(delayMs).toBeGreaterThanOrEqual(exact * (1 - input.jitter) - 2);
        expect(delayMs).toBeLessThanOrEqual(exact * (1 + input.jitter) + 2);
        expect(delayMs).toBeLessThanOrEqual(1000 * input.max_seconds * (1 + input.jitter) + 2);
        expect(Number.isInteger(delayMs)).toBe(true);
      }),
    );
  });
});
