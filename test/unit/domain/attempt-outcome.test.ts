import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  classify,
  decide,
  parseRetryAfter,
  type AttemptOutcome,
  type SendFailureCode,
  type SendResult,
} from '../../../src/domain/attempt-outcome.js';
import { NAMED_POLICIES, nextDelayMs, resolveRetryPolicy } from '../../../src/domain/retry-policy.js';

const NOW = Date.UTC(1994, 10, 6, 8, 49, 30);
const CAP = 3_600_000;

const response = (statusCode: number, retryAfter: string | null = null): SendResult => ({
  kind: 'response',
  statusCode,
  headers: {},
  body: '',
  retryAfter,
  note: null,
  durationMs: 1,
});
const failure = (code: SendFailureCode): SendResult => ({
  kind: 'failure',
  code,
  message: 'what happened',
  durationMs: 1,
});

describe('classify', () => {
  it.each([
    [200, 'delivered'],
    [204, 'delivered'],
    [299, 'delivered'],
    [199, 'retry'],
    [300, 'retry'],
    [302, 'retry'],
    [400, 'retry'],
    [401, 'retry'],
    [404, 'retry'],
    [409, 'retry'],
    [410, 'gone'],
    [429, 'retry'],
    [500, 'retry'],
    [503, 'retry'],
    [599, 'retry'],
  ])('HTTP %i: %s', (statusCode, kind) => {
    const outcome = classify(response(statusCode), NOW, CAP);
    expect(outcome.kind).toBe(kind);
    if (outcome.kind !== 'delivered') expect(outcome.error).toContain(`HTTP ${statusCode}`);
  });

  it('says why a redirect is a failure', () => {
    expect(classify(response(301), NOW, CAP)).toEqual({
      kind: 'retry',
      error: 'HTTP 301: redirects are not followed',
      retryAfterMs: null,
    });
  });

  it.each<[SendFailureCode, AttemptOutcome['kind']]>([
    ['connect_timeout', 'retry'],
    ['timeout', 'retry'],
    ['dns', 'retry'],
    ['connection_refused', 'retry'],
    ['connection_reset', 'retry'],
    ['tls', 'retry'],
    ['protocol', 'retry'],
    ['blocked_target', 'refused'],
    ['invalid_target', 'refused'],
  ])('%s: %s', (code, kind) => {
    expect(classify(failure(code), NOW, CAP)).toMatchObject({ kind, error: `${code}: what happened` });
  });

  it.each([
    [429, '120', 120_000],
    [503, '120', 120_000],
    [503, 'Sun, 06 Nov 1994 08:49:37 GMT', 7_000],
    [429, '3600', CAP],
    [429, '3601', CAP],
    [429, '9'.repeat(400), CAP],
    [429, 'soon', null],
    [429, null, null],
    [500, '120', null],
    [302, '120', null],
  ])('HTTP %i with Retry-After %s waits %s ms', (statusCode, retryAfter, retryAfterMs) => {
    expect(classify(response(statusCode, retryAfter), NOW, CAP)).toMatchObject({
      kind: 'retry',
      retryAfterMs,
    });
  });
});

describe('decide', () => {
  const policy = resolveRetryPolicy({ schedule: [10, 20] });
  const context = { policy, minDelayMs: 0, failures: 1, nowMs: NOW, random: () => 0.5 };
  const retry = (retryAfterMs: number | null): AttemptOutcome => ({
    kind: 'retry',
    error: 'HTTP 500',
    retryAfterMs,
  });

  it.each<[string, AttemptOutcome, number, ReturnType<typeof decide>]>([
    ['delivered', { kind: 'delivered' }, 0, { status: 'delivered' }],
    ['gone', { kind: 'gone', error: '' }, 1, { status: 'dead', reason: 'gone' }],
    [
      'a blocked target',
      { kind: 'refused', reason: 'blocked_target', error: '' },
      1,
      { status: 'dead', reason: 'blocked_target' },
    ],
    [
      'an invalid target',
      { kind: 'refused', reason: 'invalid_target', error: '' },
      1,
      { status: 'dead', reason: 'invalid_target' },
    ],
    ['the first failure', retry(null), 1, { status: 'retrying', nextAttemptAtMs: NOW + 10_000 }],
    ['the second failure', retry(null), 2, { status: 'retrying', nextAttemptAtMs: NOW + 20_000 }],
    ['the last failure', retry(null), 3, { status: 'dead', reason: 'exhausted' }],
    ['the last failure, asked to wait', retry(60_000), 3, { status: 'dead', reason: 'exhausted' }],
    ['a longer Retry-After', retry(10_001), 1, { status: 'retrying', nextAttemptAtMs: NOW + 10_001 }],
    ['a shorter Retry-After', retry(9_999), 1, { status: 'retrying', nextAttemptAtMs: NOW + 10_000 }],
  ])('%s', (_, outcome, failures, decision) => {
    expect(decide(outcome, { ...context, failures })).toEqual(decision);
  });

  it.each([
    ['a policy from under another limit', { schedule: [0] }, 0.5],
    ['jitter that takes all of the delay off', { schedule: [1], jitter: 1 }, 0],
  ])('retries no sooner than the least delay: %s', (_, input, random) => {
    const context = { policy: resolveRetryPolicy(input), minDelayMs: 1_000, failures: 1, nowMs: NOW };
    const decision = decide(retry(null), { ...context, random: () => random });
    expect(decision).toEqual({ status: 'retrying', nextAttemptAtMs: NOW + 1_000 });
  });

  it('never retries before the policy or before what was asked for', () => {
    const policies = fc.constantFrom(...Object.values(NAMED_POLICIES));
    const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(
        policies,
        fc.integer({ min: 1, max: 12 }),
        randoms,
        fc.nat(),
        (policy, failures, r, asked) => {
          const random = () => r;
          const decision = decide(retry(asked), { policy, minDelayMs: 0, failures, nowMs: NOW, random });
          const policyDelay = nextDelayMs(policy, failures, random);
          if (policyDelay === null) expect(decision).toEqual({ status: 'dead', reason: 'exhausted' });
          else {
            const nextAttemptAtMs = NOW + Math.max(policyDelay, asked);
            expect(decision).toEqual({ status: 'retrying', nextAttemptAtMs });
          }
        },
      ),
    );
  });
});

describe('parseRetryAfter', () => {
  it.each<[string | null, number | null]>([
    [null, null],
    ['', null],
    ['0', 0],
    ['3', 3_000],
    [' 3 ', 3_000],
    ['-3', null],
    ['1.5', null],
    ['3s', null],
    ['0x10', null],
    // The three spellings of one moment in RFC 9110 section 5.6.7.
    ['Sun, 06 Nov 1994 08:49:37 GMT', 7_000],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 7_000],
    ['Sun Nov  6 08:49:37 1994', 7_000],
    ['Sun, 06 Nov 1994 08:49:30 GMT', 0],
    ['Sun, 06 Nov 1994 08:49:29 GMT', 0],
    // In 1994, `44` is 50 years ahead and `45`, more than that, is of the past.
    ['Sunday, 06-Nov-44 08:49:30 GMT', Date.UTC(2044, 10, 6, 8, 49, 30) - NOW],
    ['Sunday, 06-Nov-45 08:49:30 GMT', 0],
    ['Sun, 06 Nov 1994 08:49:37 CET', null],
    ['1994-11-06T08:49:37Z', null],
    ['tomorrow', null],
  ])('%j: %s', (value, expected) => expect(parseRetryAfter(value, NOW)).toBe(expected));

  it('reads the date that toUTCString writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 9 }), (seconds) => {
        const date = new Date(NOW + seconds * 1000).toUTCString();
        expect(parseRetryAfter(date, NOW)).toBe(seconds * 1000);
        expect(parseRetryAfter(String(seconds), NOW)).toBe(seconds * 1000);
      }),
    );
  });
});
