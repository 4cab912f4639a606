import { describe, expect, it } from 'vitest';
import type { DeliveryStatus } from '../../../../src/domain/delivery-status.js';
import type { Arrival } from '../../../../src/simulator/arrival-log.js';
import { contradictions, sum, type Evidence } from '../../../../src/simulator/demo/account.js';
import { percentile } from '../../../../src/simulator/demo/sums-table.js';

const delivery = (event_id: string, status: DeliveryStatus = 'delivered', attempt_count = 1) => ({
  event_id,
  status,
  attempt_count,
});
const arrival = (id: string, changes: Partial<Arrival> = {}): Arrival => ({
  path: '/ok',
  method: 'POST',
  headers: { 'webhook-id': id },
  body: Buffer.alloc(0),
  bytes: 0,
  arrivedAt: 1_050,
  signatureValid: true,
  signatureProblem: null,
  duplicate: false,
  status: 200,
  ...changes,
});
/** Two events, both delivered and seen. */
const evidence = (changes: Partial<Evidence> = {}): Evidence => ({
  acceptedAt: new Map([
    ['a', 1_000],
    ['b', 1_000],
  ]),
  deliveries: [delivery('a'), delivery('b')],
  arrivals: [arrival('a'), arrival('b')],
  ...changes,
});

describe('contradictions', () => {
  it.each<[string, Partial<Evidence>]>([
    ['both are delivered', {}],
    ['one is dead', { deliveries: [delivery('a'), delivery('b', 'dead', 3)], arrivals: [arrival('a')] }],
    [
      'one is cancelled',
      { deliveries: [delivery('a'), delivery('b', 'cancelled')], arrivals: [arrival('a')] },
    ],
    ['one is due', { deliveries: [delivery('a'), delivery('b', 'retrying')], arrivals: [arrival('a')] }],
    ['one came twice', { arrivals: [arrival('a'), arrival('b'), arrival('b', { duplicate: true })] }],
    ['one was refused first', { arrivals: [arrival('a'), arrival('b', { status: 500 }), arrival('b')] }],
  ])('are none when %s', (_, changes) => {
    expect(contradictions(evidence(changes))).toEqual([]);
  });

  it.each<[string, Partial<Evidence>, RegExp]>([
    ['an event has no delivery', { deliveries: [delivery('a')] }, /without a delivery: 1 \(b\)/],
    [
      'an event has two',
      { deliveries: [delivery('a'), delivery('b'), delivery('b')] },
      /there are 3 deliveries/,
    ],
    ['nobody saw one', { arrivals: [arrival('a')] }, /never seen by the subscriber: 1 \(b\)/],
    [
      'it was refused, yet called delivered',
      { arrivals: [arrival('a'), arrival('b', { status: 500 })] },
      /never seen by the subscriber: 1 \(b\)/,
    ],
    [
      'it was taken, yet called dead',
      { deliveries: [delivery('a'), delivery('b', 'dead')] },
      /taken by the subscriber, but not called delivered: 1 \(b\)/,
    ],
    [
      'a signature is bad',
      { arrivals: [arrival('a'), arrival('b', { signatureValid: false, status: 401 }), arrival('b')] },
      /without a valid signature: 1 \(b\)/,
    ],
  ])('are named when %s', (_, changes, named) => {
    expect(contradictions(evidence(changes)).join('\n')).toMatch(named);
  });
});

it('sums up by status, and measures from accept to the first arrival', () => {
  const sums = sum(
    evidence({
      deliveries: [delivery('a', 'delivered', 2), delivery('b', 'retrying', 1)],
      arrivals: [
        arrival('a', { status: 500, arrivedAt: 1_020 }),
        arrival('a', { arrivedAt: 1_900 }),
        arrival('b', { arrivedAt: 1_010, duplicate: true }),
      ],
    }),
  );
  expect(sums).toEqual({
    accepted: 2,
    deliveries: 2,
    delivered: 1,
    retried: 1,
    dead: 0,
    cancelled: 0,
    due: 1,
    duplicates: 1,
    latencies: [10, 20],
  });
});

it.each([
  [[], 50, undefined],
  [[7], 99, 7],
  [[1, 2], 50, 1],
  [[1, 2, 3], 50, 2],
  [Array.from({ length: 100 }, (_, index) => index + 1), 99, 99],
])('takes the nearest rank as percentile', (values, percent, expected) => {
  expect(percentile(values, percent)).toBe(expected);
});
