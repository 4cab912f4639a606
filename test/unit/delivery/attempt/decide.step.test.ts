import { describe, expect, it } from 'vitest';
import { DecideStep } from '../../../../src/delivery/attempt/decide.step.js';
import { CANNOT_SIGN } from '../../../../src/delivery/attempt/sign.step.js';
import type { SendResult } from '../../../../src/domain/attempt-outcome.js';
import { CLOCK, CONFIG, deliveryWith, NOW, subscriptionWith } from './subject.js';

const answer = (statusCode: number, changes: object = {}): SendResult => ({
  kind: 'response',
  statusCode,
  headers: { via: 'x' },
  body: 'so it is',
  retryAfter: null,
  note: null,
  durationMs: 12,
  ...changes,
});
const timeout: SendResult = { kind: 'failure', code: 'timeout', message: 'no answer', durationMs: 10_000 };

function decided(sent: SendResult, budgetAttempt = 1, step = new DecideStep(CONFIG, CLOCK)) {
  const delivery = deliveryWith({ attemptNumber: 7, budgetAttempt });
  const authorised = {
    stage: 'authorised' as const,
    delivery,
    subscription: subscriptionWith(),
  };
  return step.run(authorised, { startedAt: new Date(NOW - 12), startedMs: 5, result: sent });
}

describe('the result', () => {
  it.each<[what: string, sent: SendResult, result: object]>([
    [
      'accepted',
      answer(204),
      { status: 'delivered', success: true, error: null, statusCode: 204, retryInMs: null },
    ],
    [
      'accepted, cut short',
      answer(200, { note: 'cut' }),
      { status: 'delivered', success: true, error: 'cut' },
    ],
    ['refused', answer(500), { status: 'retrying', success: false, error: 'HTTP 500', statusCode: 500 }],
    ['refused, cut short', answer(500, { note: 'cut' }), { error: 'HTTP 500; cut' }],
    ['told to wait', answer(503, { retryAfter: '600' }), { status: 'retrying', retryInMs: 600_000 }],
    ['gone', answer(410), { status: 'dead', deadReason: 'gone', retryInMs: null }],
    [
      'not answered',
      timeout,
      { status: 'retrying', error: 'timeout: no answer', statusCode: null, responseBody: null },
    ],
    ['not signed', CANNOT_SIGN, { status: 'retrying', statusCode: null }],
  ])('of a request that was %s', (_, sent, result) => {
    expect(decided(sent).result).toMatchObject({
      attemptNumber: 7,
      startedAt: new Date(NOW - 12),
      ...result,
    });
  });

  it('keeps the answer', () => {
    expect(decided(answer(200)).result).toMatchObject({
      responseHeaders: '{"via":"x"}',
      responseBody: 'so it is',
      durationMs: 12,
    });
  });

  it('is dead when the attempts of its policy are used up', () => {
    const maxAttempts = subscriptionWith().retryPolicy.delaysMs.length + 1;
    expect(decided(answer(500), maxAttempts - 1).result.status).toBe('retrying');
    expect(decided(answer(500), maxAttempts).result).toMatchObject({
      status: 'dead',
      deadReason: 'exhausted',
    });
  });

  it('of a request that the stop of the process cut off is due again at once, and only then', () => {
    const step = new DecideStep(CONFIG, CLOCK);
    step.shutDown();
    expect(decided(timeout, 1, step).result).toMatchObject({ status: 'retrying', retryInMs: 0 });
    expect(decided(answer(200), 1, step).result.status).toBe('delivered');
    expect(decided(answer(410), 1, step).result.status).toBe('dead');
  });
});

it('says that nothing was sent where nothing was', () => {
  expect([answer(200), timeout, CANNOT_SIGN].map((sent) => decided(sent).wasSent)).toEqual([
    true,
    true,
    false,
  ]);
  const orphaned = new DecideStep(CONFIG, CLOCK).orphaned(deliveryWith());
  expect(orphaned).toMatchObject({
    wasSent: false,
    outcome: null,
    result: { startedAt: null, status: 'dead', deadReason: 'subscription_deleted' },
  });
});
