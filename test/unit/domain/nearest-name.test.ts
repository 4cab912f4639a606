import { describe, expect, it } from 'vitest';
import { nearestName, nearestValue } from '../../../src/domain/nearest-name.js';

const SUBSCRIPTION = [
  'target_url',
  'event_types',
  'is_active',
  'timeout_ms',
  'retry_policy',
  'secret',
  'metadata',
];
const EVENT = ['event_type', 'payload', 'event_id', 'idempotency_key'];
const LIST = ['limit', 'cursor', 'is_active'];

describe('the name that was meant', () => {
  it.each([
    ['url', SUBSCRIPTION, 'target_url'],
    ['endpoint', SUBSCRIPTION, 'target_url'],
    ['targetUrl', SUBSCRIPTION, 'target_url'],
    ['Target-URL', SUBSCRIPTION, 'target_url'],
    ['target_uri', SUBSCRIPTION, 'target_url'],
    ['events', SUBSCRIPTION, 'event_types'],
    ['event_type', SUBSCRIPTION, 'event_types'],
    ['eventTypes', SUBSCRIPTION, 'event_types'],
    ['isActive', SUBSCRIPTION, 'is_active'],
    ['enabled', SUBSCRIPTION, 'is_active'],
    ['timeout', SUBSCRIPTION, 'timeout_ms'],
    ['secert', SUBSCRIPTION, 'secret'],
    ['meta', SUBSCRIPTION, null],
    ['type', EVENT, 'event_type'],
    ['data', EVENT, 'payload'],
    ['idempotencyKey', EVENT, 'idempotency_key'],
    ['page_size', LIST, 'limit'],
    ['lmit', LIST, 'limit'],
    ['surprise', SUBSCRIPTION, null],
    ['x', SUBSCRIPTION, null],
    ['', SUBSCRIPTION, null],
    ['__proto__', SUBSCRIPTION, null],
    ['constructor', SUBSCRIPTION, null],
    ['target_url'.repeat(1_000), SUBSCRIPTION, null],
  ])('by %j among %j is %j', (given, known, meant) => {
    expect(nearestName(given, known)).toBe(meant);
  });
});

const STATUSES = ['pending', 'delivering', 'retrying', 'delivered', 'dead', 'cancelled'];

describe('the value that was meant', () => {
  it.each([
    ['Delivered', STATUSES, 'delivered'],
    ['canceled', STATUSES, 'cancelled'],
    ['failed', STATUSES, 'dead'],
    ['failure', ['ok', 'failed'], 'failed'],
    ['standard_webhooks', ['stripe', 'standard-webhooks'], 'standard-webhooks'],
    ['x', STATUSES, null],
    ['', STATUSES, null],
    ['constructor', STATUSES, null],
  ])('by %j among %j is %j', (given, known, meant) => {
    expect(nearestValue(given, known)).toBe(meant);
  });
});
