import { hash, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadConfig } from '../../../src/config/config.js';
import type { Change, ChangeFeed } from '../../../src/persistence/change-feed.js';
import { hasExpired, KeyCache, sha256Of } from '../../../src/persistence/key-cache.js';
import type {
  ApiKeyRepository,
  KeyOwnerRow,
} from '../../../src/persistence/repositories/api-key.repository.js';

const KEY = 'a key';
const HASH = hash('sha256', KEY, 'buffer');
const TENANT = randomUUID();

let stored: KeyOwnerRow | undefined;
/** A query has its result when it begins, and answers when this settles. */
let answering: Promise<void>;
/** How many keys each query asked for, and how many were running then with it. */
let queries: { keys: number; running: number }[];
let feed: { isListening: boolean; announce(table: string, tenantId?: string): void; breakOff(): void };
let cache: KeyCache;

beforeEach(() => {
  vi.useFakeTimers({ now: 100_000, toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
  // At 0 the cache would take the time for none.
  vi.advanceTimersByTime(1);
  stored = undefined;
  answering = Promise.resolve();
  const listeners: [onChange: (change: Change) => void, onGap: () => void][] = [];
  feed = {
    isListening: true,
    announce: (table, tenantId = TENANT) => {
      for (const [onChange] of listeners) onChange({ table, tenantId });
    },
    breakOff: () => {
      feed.isListening = false;
      for (const [, onGap] of listeners) onGap();
    },
  };
  const changes = {
    get isListening() {
      return feed.isListening;
    },
    subscribe: (...listener: (typeof listeners)[number]) => listeners.push(listener),
  };
  queries = [];
  let running = 0;
  const keys = {
    findOwners: (hashes: Buffer[]) => {
      queries.push({ keys: hashes.length, running: ++running });
      const found = stored ? [stored] : [];
      return answering.then(() => found).finally(() => running--);
    },
  };
  cache = new KeyCache(keys as unknown as ApiKeyRepository, changes as unknown as ChangeFeed, loadConfig({}));
});
afterEach(() => vi.useRealTimers());

const someone = (): KeyOwnerRow => ({
  id: randomUUID(),
  tenant_id: TENANT,
  key_hash: HASH,
  scopes: ['read'],
  expires_in_ms: null,
  suspended: false,
  rate_per_second: null,
  rate_burst: null,
  allowed_ips: [],
});

const ownerId = async (): Promise<string | undefined> => (await cache.owner(sha256Of(KEY)))?.keyId;
const isExpired = async (): Promise<boolean> => hasExpired((await cache.owner(sha256Of(KEY)))!);

it.each([
  ['a known key for a minute', () => (stored = someone()), 60_000],
  ['an unknown key for 5 seconds', () => undefined, 5_000],
])('remembers %s', async (_, store, ms) => {
  const before = store();
  expect(await ownerId()).toBe(before?.id);
  const after = (stored = someone());
  vi.advanceTimersByTime(ms);
  expect(await ownerId()).toBe(before?.id);
  vi.advanceTimersByTime(1);
  expect(await ownerId()).toBe(after.id);
});

it.each(['api_key', 'tenant'])('knows at once when an %s changed', async (table) => {
  expect(await ownerId()).toBeUndefined();
  stored = someone();
  feed.announce(table);
  expect(await ownerId()).toBe(stored.id);
  stored = undefined;
  feed.announce(table);
  expect(await ownerId()).toBeUndefined();
});

it('keeps what it knows of a tenant when another one changes', async () => {
  const { id } = (stored = someone());
  expect(await ownerId()).toBe(id);
  stored = undefined;
  feed.announce('api_key', randomUUID());
  expect(await ownerId()).toBe(id);
});

it('asks for a key that it knows while nothing is heard of changes', async () => {
  const { id } = (stored = someone());
  expect(await ownerId()).toBe(id);
  stored = undefined;
  feed.isListening = false;
  expect(await ownerId()).toBeUndefined();
});

it('answers without a promise once it knows the key', async () => {
  const { id } = (stored = someone());
  await ownerId();
  expect(cache.owner(sha256Of(KEY))).toMatchObject({ keyId: id });
});

it.each([
  ['fresh from the database', false],
  ['remembered from before', true],
])('knows an expired key, and that it has expired, %s', async (_, isWarm) => {
  stored = { ...someone(), expires_in_ms: isWarm ? 1_000 : 0 };
  if (isWarm) {
    expect(await isExpired()).toBe(false);
    vi.advanceTimersByTime(999);
    expect(await isExpired()).toBe(false);
  }
  vi.advanceTimersByTime(isWarm ? 1 : 0);
  expect(await isExpired()).toBe(true);
});

it('looks many keys up together', async () => {
  const owners = await Promise.all(
    [KEY, 'another', 'a third'].map(async (key) => cache.owner(sha256Of(key))),
  );
  expect(owners).toEqual([undefined, undefined, undefined]);
  expect(queries).toEqual([{ keys: 3, running: 1 }]);
  stored = someone();
  feed.announce('api_key');
  const [known, ...others] = await Promise.all(
    [KEY, 'another', 'a third'].map(async (key) => cache.owner(sha256Of(key))),
  );
  expect(known).toMatchObject({ keyId: stored.id });
  expect(others).toEqual([undefined, undefined]);
  expect(queries).toEqual([
    { keys: 3, running: 1 },
    { keys: 3, running: 1 },
  ]);
});

it('has one query at a time for a flood of keys, each for a hundred at most', async () => {
  let answer!: () => void;
  answering = new Promise((resolve) => (answer = resolve));
  const first = cache.owner(sha256Of('the first'));
  await vi.waitFor(() => expect(queries).toHaveLength(1), 60_000);
  const flood = Array.from({ length: 250 }, async (_, index) => cache.owner(sha256Of(`key ${index}`)));
  answer();
  await Promise.all([first, ...flood]);
  expect(queries).toEqual([1, 100, 100, 50].map((keys) => ({ keys, running: 1 })));
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
  const reading = cache.owner(sha256Of(KEY));
  stored = undefined;
  during();
  answer();
  await reading;
  expect(await cache.owner(sha256Of(KEY))).toBeUndefined();
});
