import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadConfig } from '../../../src/config/config.js';
import type { Change, ChangeFeed } from '../../../src/persistence/change-feed.js';
import type {
  ServedSourceRow,
  SourceRepository,
} from '../../../src/persistence/repositories/source.repository.js';
import { SourceCache } from '../../../src/persistence/source-cache.js';

const TENANT = randomUUID();
const ID = randomUUID();

let stored: ServedSourceRow | undefined;
/** A query has its result when it begins, and answers when this settles. */
let answering: Promise<void>;
/** How many names each query asked for, and how many were running then with it. */
let queries: { names: number; running: number }[];
let feed: { isListening: boolean; announce(table: string, tenantId?: string): void; breakOff(): void };
let cache: SourceCache;

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
  const find = (names: string[]) => {
    queries.push({ names: names.length, running: ++running });
    const found = stored ? [stored] : [];
    return answering.then(() => found).finally(() => running--);
  };
  const sources = { findServed: find, findServedForIngest: find, secretsInUse: () => () => ['a secret'] };
  cache = new SourceCache(
    sources as unknown as SourceRepository,
    loadConfig({}),
    changes as unknown as ChangeFeed,
  );
});
afterEach(() => vi.useRealTimers());

const row = (fields: Partial<ServedSourceRow> = {}): ServedSourceRow => ({
  id: ID,
  tenant_id: TENANT,
  provider: 'posthorn',
  settings: {},
  is_active: true,
  secret: '' as ServedSourceRow['secret'],
  previous_secret: null,
  previous_secret_expires_at: null,
  older_secrets: [],
  allowed_ips: [],
  suspended: false,
  rate_per_second: null,
  rate_burst: null,
  ...fields,
});

const BOTH = [
  ['by its id', () => cache.find(ID)],
  ['by its tenant', () => cache.findIngestSource(TENANT)],
] as const;

it.each(BOTH)('remembers a source for a minute, %s', async (_, find) => {
  stored = row();
  expect(await find()).toMatchObject({ id: ID, isActive: true });
  stored = row({ is_active: false });
  vi.advanceTimersByTime(60_000);
  expect(find()).toMatchObject({ isActive: true });
  vi.advanceTimersByTime(1);
  expect(await find()).toMatchObject({ isActive: false });
});

it.each(BOTH)('remembers for 5 seconds that there is none, %s', async (_, find) => {
  expect(await find()).toBeUndefined();
  stored = row();
  vi.advanceTimersByTime(5_000);
  expect(find()).toBeUndefined();
  expect(queries).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(await find()).toMatchObject({ id: ID });
});

it.each(BOTH)('knows at once when a source or its tenant changed, %s', async (_, find) => {
  for (const table of ['source', 'tenant']) {
    stored = row();
    feed.announce(table);
    expect(await find()).toMatchObject({ isTenantSuspended: false });
    stored = row({ suspended: true });
    feed.announce(table, randomUUID());
    feed.announce('subscription');
    feed.announce('api_key');
    expect(find()).toMatchObject({ isTenantSuspended: false });
    feed.announce(table);
    expect(await find()).toMatchObject({ isTenantSuspended: true });
  }
});

it('knows at once when a tenant has its source for POST /webhooks/ingest', async () => {
  expect(await cache.findIngestSource(TENANT)).toBeUndefined();
  stored = row();
  feed.announce('source');
  expect(await cache.findIngestSource(TENANT)).toMatchObject({ id: ID });
});

it('asks each time while nothing is heard of changes', async () => {
  stored = row();
  expect(await cache.find(ID)).toMatchObject({ isActive: true });
  stored = row({ is_active: false });
  feed.isListening = false;
  expect(await cache.find(ID)).toMatchObject({ isActive: false });
  stored = row();
  expect(await cache.find(ID)).toMatchObject({ isActive: true });
});

it('has one query at a time for a flood of made-up ids, which forget no source', async () => {
  stored = row();
  await cache.find(ID);
  queries.length = 0;
  let answer!: () => void;
  answering = new Promise((resolve) => (answer = resolve));
  const first = cache.find(randomUUID());
  await vi.waitFor(() => expect(queries).toHaveLength(1), 60_000);
  const flood = Array.from({ length: 12_000 }, async () => cache.find(randomUUID()));
  answer();
  expect((await Promise.all([first, ...flood])).filter(Boolean)).toEqual([]);
  expect(queries).toEqual(
    [1, ...Array.from({ length: 24 }, () => 500)].map((names) => ({ names, running: 1 })),
  );
  expect(cache.find(ID)).toMatchObject({ id: ID });
});

it('fails for a row that it cannot read, and not for those that were looked up with it', async () => {
  stored = row({ allowed_ips: ['nowhere'] });
  const [broken, other] = await Promise.allSettled([cache.find(ID), cache.find(randomUUID())]);
  expect([broken.status, other.status]).toEqual(['rejected', 'fulfilled']);
});

it.each<[string, () => void, () => void]>([
  ['while nobody listened', () => feed.breakOff(), () => undefined],
  ['before somebody listened again', () => feed.breakOff(), () => (feed.isListening = true)],
  ['before a change', () => undefined, () => feed.announce('source')],
  [
    'before a gap in listening',
    () => undefined,
    () => {
      feed.breakOff();
      feed.isListening = true;
    },
  ],
])('does not keep what was read %s', async (_, before, during) => {
  stored = row();
  before();
  let answer!: () => void;
  answering = new Promise((resolve) => (answer = resolve));
  const reading = cache.find(ID);
  stored = undefined;
  during();
  answer();
  await reading;
  expect(await cache.find(ID)).toBeUndefined();
});
