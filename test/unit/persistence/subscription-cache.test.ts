import { randomUUID } from 'node:crypto';
import { beforeEach, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/config.js';
import type { Change, ChangeFeed } from '../../../src/persistence/change-feed.js';
import type {
  ServedSubscription,
  SubscriptionRepository,
} from '../../../src/persistence/repositories/subscription.repository.js';
import type { TenantRepository } from '../../../src/persistence/repositories/tenant.repository.js';
import { SubscriptionCache } from '../../../src/persistence/subscription-cache.js';

const TENANT = randomUUID();

let stored: ServedSubscription[];
let announce: (change: Change) => void;
let cache: SubscriptionCache;

beforeEach(() => {
  stored = [];
  const changes = {
    isListening: true,
    subscribe: (onChange: typeof announce) => (announce = onChange),
  };
  cache = new SubscriptionCache(
    { all: () => Promise.resolve(stored), secretsInUse: () => () => [] } as unknown as SubscriptionRepository,
    { find: () => Promise.resolve({ suspended: false }) } as unknown as TenantRepository,
    changes as unknown as ChangeFeed,
    loadConfig({}),
  );
});

const subscription = (isActive: boolean, ...eventTypes: string[]) =>
  ({
    id: randomUUID(),
    tenantId: TENANT,
    targetUrl: 'https://subscriber.example/',
    eventTypes,
    isActive,
    headers: {},
    retryPolicy: null,
    timeoutMs: null,
    rateLimit: null,
    maxConcurrency: null,
    verification: 'none',
  }) as unknown as ServedSubscription;

it.each([
  ['there is none', [], { reason: 'no_subscription', inactive: 0, event_type: 0 }],
  ['none wants it', [subscription(true, 'b')], { reason: 'event_type', inactive: 0, event_type: 1 }],
  [
    'those that want it are off',
    [subscription(false, 'a'), subscription(false, 'b'), subscription(true, 'c')],
    { reason: 'inactive', inactive: 1, event_type: 2 },
  ],
])('says that %s, and works it out once for a type', async (_, subscriptions, why) => {
  stored = subscriptions;
  const first = await cache.whyNone(TENANT, 'a');
  expect(first).toEqual(why);
  // The same object: it was not made again.
  expect(await cache.whyNone(TENANT, 'a')).toBe(first);
});

it('says something else after a change', async () => {
  stored = [subscription(false, 'a')];
  expect((await cache.whyNone(TENANT, 'a')).reason).toBe('inactive');
  stored = [];
  announce({ table: 'subscription', tenantId: TENANT });
  expect((await cache.whyNone(TENANT, 'a')).reason).toBe('no_subscription');
});
