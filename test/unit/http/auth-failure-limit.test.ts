import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadConfig } from '../../../src/config/config.js';
import { Problem } from '../../../src/domain/errors.js';
import { AuthFailureLimit } from '../../../src/http/auth-failure-limit.js';
import { createLogger } from '../../../src/observability/logger.js';
import type { Metrics } from '../../../src/observability/metrics.js';

const PER_MINUTE = 10;
let limit: AuthFailureLimit;
let refused: number;
let limitWith: (env: Record<string, string>) => AuthFailureLimit;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  refused = 0;
  const metrics = { authLimited: () => (refused += 1) } as unknown as Metrics;
  limitWith = (env) => {
    const config = loadConfig({ AUTH_FAILURES_PER_MINUTE: String(PER_MINUTE), ...env });
    return new AuthFailureLimit(config, metrics, createLogger('silent', 'all'));
  };
  limit = limitWith({});
});
afterEach(() => vi.useRealTimers());

let retryAfterSeconds: number | undefined;
let guesses = 0;
/** How many of so many wrong keys are looked at. */
function guess(address: string, times: number): number {
  let seen = 0;
  for (let i = 0; i < times; i++) {
    try {
      limit.begin(address, `guess ${guesses++}`).failed();
      seen++;
    } catch (error) {
      expect(error).toBeInstanceOf(Problem);
      retryAfterSeconds = (error as Problem).retryAfterSeconds;
    }
  }
  return seen;
}

it.each([
  ['the same address', '192.0.2.1', '192.0.2.1', true],
  ['its IPv4-mapped form', '192.0.2.1', '::ffff:192.0.2.1', true],
  ['another address', '192.0.2.1', '192.0.2.2', false],
  ['the same /64', '2001:db8:0:1::1', '2001:db8:0:1:ffff::2', true],
  ['the next /64', '2001:db8:0:1::1', '2001:db8:0:2::1', false],
])('counts wrong keys: %s', (_, one, other, isTogether) => {
  expect(guess(one, 3_000)).toBe(PER_MINUTE);
  expect(guess(other, 3_000)).toBe(isTogether ? 0 : PER_MINUTE);
  expect(refused).toBe(isTogether ? 5_990 : 5_980);
});

it('looks at another one when the time in Retry-After is over', () => {
  guess('192.0.2.1', PER_MINUTE + 1);
  expect(retryAfterSeconds).toBe(60 / PER_MINUTE);
  vi.advanceTimersByTime(60_000 / PER_MINUTE - 1);
  expect(guess('192.0.2.1', 1)).toBe(0);
  vi.advanceTimersByTime(1);
  expect(guess('192.0.2.1', 2)).toBe(1);
});

it('charges in advance, so that many at once are no way around', () => {
  const begun = Array.from({ length: 100 }, (_, index) => {
    try {
      return limit.begin('192.0.2.1', `at once ${index}`);
    } catch {
      return undefined;
    }
  });
  expect(begun.filter((attempt) => attempt !== undefined)).toHaveLength(PER_MINUTE);
});

it('lets a key pass that was right before from the same address, and no key that only might be', () => {
  limit.begin('192.0.2.1', 'right').succeeded();
  guess('192.0.2.1', 3_000);
  expect(() => limit.begin('192.0.2.1', 'right').succeeded()).not.toThrow();
  expect(() => limit.begin('192.0.2.1', 'right as well')).toThrow('wrong keys');
  expect(() => limit.begin('192.0.2.9', 'right').succeeded()).not.toThrow();
});

it('holds a key up that was right and is not any more', () => {
  limit.begin('192.0.2.1', 'revoked').succeeded();
  limit.begin('192.0.2.1', 'revoked').failed();
  guess('192.0.2.1', PER_MINUTE);
  expect(() => limit.begin('192.0.2.1', 'revoked')).toThrow('wrong keys');
});

it('costs nothing to succeed, nor what is forgiven', () => {
  for (let i = 0; i < 100; i++) limit.begin('192.0.2.1', `right ${i}`).succeeded();
  for (let i = 0; i < 100; i++) limit.begin('192.0.2.1', 'wrong again').forgiven();
  expect(guess('192.0.2.1', 100)).toBe(PER_MINUTE);
});

it('takes no operator key while too many are wrong from everywhere, but those that were right before', () => {
  limit.begin('198.51.100.1', 'operator').succeeded();
  for (let i = 0; i < 10; i++) guess(`192.0.2.${i}`, PER_MINUTE);
  expect(limit.begin('203.0.113.1', 'operator').mayBeOperator).toBe(false);
  expect(limit.begin('198.51.100.1', 'operator').mayBeOperator).toBe(true);
  vi.advanceTimersByTime(60_000);
  expect(limit.begin('203.0.113.1', 'operator').mayBeOperator).toBe(true);
});

it.each([
  ['ADMIN_ALLOWED_IPS', { ADMIN_ALLOWED_IPS: '198.51.100.0/24' }],
  ['the addresses of a key', { ADMIN_API_KEYS: 'alice=b7c2e91f04d86a35-alice 198.51.100.0/24' }],
])('strangers do not hold up operators who come from %s, but those there do', (_, env) => {
  limit = limitWith(env);
  for (let i = 0; i < 12; i++) guess(`192.0.2.${i}`, PER_MINUTE);
  expect(limit.begin('192.0.2.99', 'operator').mayBeOperator).toBe(false);
  expect(limit.begin('198.51.100.1', 'operator').mayBeOperator).toBe(true);
  for (let i = 2; i < 14; i++) guess(`198.51.100.${i}`, PER_MINUTE);
  expect(limit.begin('198.51.100.1', 'another').mayBeOperator).toBe(false);
});
