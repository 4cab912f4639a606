import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Change, ChangeFeed } from '../../../src/persistence/change-feed.js';
import { KeyCache, KeyOwner } from '../../../src/persistence/key-cache.js';
import type { ApiKeyRepository } from '../../../src/persistence/repositories/api-key.repository.js';

const KEY = 'a key';

let stored: KeyOwner | undefined;
/** A query has its result when it begins, and answers when this settles. */
let answering: Promise<void>;
let feed: { isListening: boolean; announce(table: string): void; breakOff(): void };
let cache: KeyCache;

beforeEach(() => {
  vi.useFakeTimers({ now: 100_000, toFake: ['Date'] });
  stored = undefined;
  answering = Promise.resolve();
  let onChange: (change: Change) => void;
  let onGap: () => void;
  feed = {
    isListening: true,
    announce: (table) => onChange({ table, tenantId: randomUUID() }),
    breakOff: () => {
      feed.isListening = false;
      onGap();
    },
  };
  const changes = {
    get isListening() {
      return feed.isListening;
    },
    subscribe: (...listeners: [typeof onChange, typeof onGap]) => ([onChange, onGap] = listeners),
  };
  const keys = {
    findOwner: () => {
      const found = stored;
      return answering.then(() => found);
    },
  };
  cache = new KeyCache(keys as unknown as ApiKeyRepository, changes as unknown as ChangeFeed);
});
afterEach(() => vi.useRealTimers());

const someone = (): KeyOwner => ({ keyId: randomUUID(), tenantId: randomUUID() });

it.each([
  ['a known key for a minute', () => (stored = someone()), 60_000],
  ['an unknown key for 5 seconds', () => undefined, 5_000],
])('remembers %s', async (_, store, ms) => {
  const before = store();
  expect(await cache.owner(KEY)).toEqual(before);
  const after = (stored = someone());
  vi.setSystemTime(100_000 + ms - 1);
  expect(await cache.owner(KEY)).toEqual(before);
  vi.setSystemTime(100_000 + ms);
  expect(await cache.owner(KEY)).toEqual(after);
});

it.each(['api_key', 'tenant'])('knows at once when an %s changed', async (table) => {
  expect(await cache.owner(KEY)).toBeUndefined();
  stored = someone();
  feed.announce(table);
  expect(await cache.owner(KEY)).toEqual(stored);
  stored = undefined;
  feed.announce(table);
  expect(await cache.owner(KEY)).toBeUndefined();
});

it.each<[string, () => void, () => void]>([
  ['while nobody listened', () => feed.breakOff(), () => undefined],
  ['before somebody listened again', () => feed.breakOff(), () => (feed.isListening = true)],
  ['before a change', () => undefined, () => feed.announce('api_key')],
  [
    'before a gap in listening',
    () => undefined,
    () => {
      feed.breakOff();
      feed.isListening = true;
    },
  ],
])('does not keep what was read %s', async (_, before, during) => {
  stored = someone();
  before();
  let answer!: () => void;
  answering = new Promise((resolve) => (answer = resolve));
  const reading = cache.owner(KEY);
  stored = undefined;
  during();
  answer();
  await reading;
  expect(await cache.owner(KEY)).toBeUndefined();
});
