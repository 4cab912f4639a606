import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { inspect, parseEnv } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Config, InvalidConfig, loadConfig, ROLES, VARIABLE_NAMES } from '../../../src/config/config.js';

const DATABASE_URL = 'postgresql://posthorn:secret@db:5432/posthorn';
const REDIS_URL = 'redis://queue:6379/1';
const ENCRYPTION_KEY = Buffer.alloc(32, 'kept by nobody but these tests ..').toString('base64');
/** What every service with a database of its own needs. */
const DATABASE = { DATABASE_URL, ENCRYPTION_KEY };

/** The lines under the heading, without their dashes. */
function mistakes(env: Record<string, string>): string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (!(error instanceof InvalidConfig)) throw error;
    return error.message
      .split('\n')
      .filter((line) => line.startsWith('  - '))
      .map((line) => line.slice(4));
  }
  return [];
}

describe('.env.example', () => {
  const text = readFileSync(resolve(import.meta.dirname, '../../../.env.example'), 'utf8');
  const shown = parseEnv(text.replace(/^#(?=[A-Z0-9_]+=)/gm, ''));

  it('names every variable, and no other', () => {
    expect(Object.keys(shown).sort()).toEqual([...VARIABLE_NAMES].sort());
  });

  it('shows the defaults', () => {
    // Its default depends on others; what is shown opens nothing.
    const { ALLOW_TARGET_RANGES, ...others } = shown;
    expect(loadConfig(others)).toEqual(loadConfig({}));
    expect(ALLOW_TARGET_RANGES).toBe('none');
  });

  it('sets nothing as long as nobody edits it', () => {
    expect(parseEnv(text)).toEqual({});
  });

  it('explains every variable in the lines above it', () => {
    const paragraphs = text.split(/\n\n+/).filter((paragraph) => /^#[A-Z_]+=/m.test(paragraph));
    for (const paragraph of paragraphs) expect(paragraph).toMatch(/^# /);
  });
});

describe('without any variable', () => {
  const config = loadConfig({});

  it('is one process with an embedded database, for this machine alone', () => {
    expect(config).toMatchObject({
      role: 'all',
      port: 8000,
      host: '127.0.0.1',
      databaseUrl: '',
      redisUrl: null,
      dataDir: '.posthorn',
      adminApiKey: null,
    });
  });

  it('keeps to the documented limits', () => {
    expect(config).toMatchObject({
      retryAfterCapMs: 3_600_000,
      deliveryTimeoutMs: 10_000,
      leaseSeconds: 60,
      retentionHours: 72,
      dlqRetentionDays: 30,
      cleanupIntervalMs: 3_600_000,
      maxPayloadBytes: 1_048_576,
    });
    expect(config.retryPolicy.delaysMs).toHaveLength(10);
  });
});

describe('DATABASE_URL', () => {
  it.each<[string, Record<string, string>, string, boolean]>([
    ['without it', {}, '127.0.0.1', true],
    ['with it', DATABASE, '0.0.0.0', false],
    ['with it and a HOST', { ...DATABASE, HOST: '::1' }, '::1', false],
    ['with it and a range', { ...DATABASE, ALLOW_TARGET_RANGES: '127.0.0.0/8' }, '0.0.0.0', true],
    ['without it and another range', { ALLOW_TARGET_RANGES: '10.0.0.0/8' }, '127.0.0.1', false],
    ['without it, closed by name', { ALLOW_TARGET_RANGES: 'none' }, '127.0.0.1', false],
    ['without it, closed by an empty value', { ALLOW_TARGET_RANGES: ' ' }, '127.0.0.1', false],
    ['without it, reached from this machine', { HOST: 'localhost' }, 'localhost', true],
    ['without it, reached from this machine by IPv6', { HOST: '::1' }, '::1', true],
    ['without it, reached from everywhere', { HOST: '0.0.0.0' }, '0.0.0.0', false],
    ['without it, reached from everywhere by IPv6', { HOST: '::' }, '::', false],
    ['without it, reached from a network', { HOST: '192.168.1.5' }, '192.168.1.5', false],
    ['without it, reached by a name', { HOST: 'hooks.example.com' }, 'hooks.example.com', false],
    ['exposed on purpose', { HOST: '0.0.0.0', ALLOW_TARGET_RANGES: '127.0.0.1' }, '0.0.0.0', true],
  ])('%s: host and loopback targets', (_, env, host, mayCallLoopback) => {
    const config = loadConfig(env);
    expect(config.host).toBe(host);
    expect(config.addressRules.isAllowed('127.0.0.1')).toBe(mayCallLoopback);
  });
});

it.each<[Record<string, string>, boolean]>([
  [{}, false],
  [DATABASE, false],
  [{ HOST: '0.0.0.0' }, true],
  [{ HOST: '0.0.0.0', ALLOW_TARGET_RANGES: 'none' }, false],
  [{ HOST: '0.0.0.0', ALLOW_TARGET_RANGES: '127.0.0.0/8' }, false],
])('%o: tells that loopback is closed for the HOST: %s', (env, told) => {
  expect(loadConfig(env).isLoopbackClosedByHost).toBe(told);
});

describe('roles', () => {
  it.each(ROLES.filter((role) => role !== 'all'))('%s needs both databases', (role) => {
    expect(mistakes({ ROLE: role, ...DATABASE, REDIS_URL })).toEqual([]);
    for (const env of [{}, DATABASE, { REDIS_URL }] as Record<string, string>[]) {
      expect(mistakes({ ROLE: role, ...env })).toEqual([
        expect.stringMatching(`^ROLE=${role} needs DATABASE_URL and REDIS_URL`),
      ]);
    }
  });

  it('all works with either, both or none', () => {
    for (const env of [{}, DATABASE, { REDIS_URL }, { ...DATABASE, REDIS_URL }] as Record<string, string>[]) {
      expect(mistakes({ ROLE: 'all', ...env })).toEqual([]);
    }
  });
});

describe('DATABASE_READ_URL', () => {
  it('needs a primary', () => {
    const DATABASE_READ_URL = 'postgresql://replica/posthorn';
    expect(mistakes({ DATABASE_READ_URL })).toEqual([
      expect.stringMatching('^DATABASE_READ_URL needs DATABASE_URL'),
    ]);
    expect(loadConfig({ ...DATABASE, DATABASE_READ_URL }).databaseReadUrl).toBe(DATABASE_READ_URL);
  });
});

describe('ENCRYPTION_KEY', () => {
  it.each([
    ['all', 1],
    ['api', 1],
    ['worker', 1],
    ['scheduler', 0],
  ])('with DATABASE_URL the role %s makes %i mistakes without it', (ROLE, count) => {
    const found = mistakes({ ROLE, DATABASE_URL, REDIS_URL });
    expect(found).toEqual(
      Array.from({ length: count }, () => expect.stringMatching('^ENCRYPTION_KEY is needed .* openssl rand')),
    );
  });

  it('is a ring of keys, which no printing of the configuration shows', () => {
    const hex = Buffer.alloc(32, 'h').toString('hex');
    const config = loadConfig({ ...DATABASE, ENCRYPTION_KEY: `${ENCRYPTION_KEY}, ${hex}` });
    expect(config.encryptionKeys!.ids).toHaveLength(2);
    const printed = [inspect(config, { depth: 9, showHidden: true }), JSON.stringify(config)];
    for (const form of [ENCRYPTION_KEY.slice(0, 40), hex, 'kkkkkkkk', 'hhhhhhhh', '6b 6b 6b 6b']) {
      expect(printed.join()).not.toContain(form);
    }
  });
});

describe('values', () => {
  it.each<[string, string]>([
    ['ROLE', 'master'],
    ['ROLE', 'API'],
    ['PORT', '65536'],
    ['PUBLIC_URL', 'hooks.example.com'],
    ['PUBLIC_URL', 'ftp://example.com'],
    ['PUBLIC_URL', 'https://user:pw@example.com'],
    ['PUBLIC_URL', 'https://example.com/?a=b'],
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['PORT', 'http'],
    ['DATABASE_URL', 'mysql://localhost/posthorn'],
    ['DATABASE_URL', 'localhost:5432'],
    ['DATABASE_POOL_SIZE', '1'],
    ['DATABASE_READ_URL', 'replica:5432'],
    ['REDIS_URL', 'localhost:6379'],
    ['REDIS_URL', 'redis+sentinel://localhost:26379'],
    ['QUEUE_PREFIX', '{posthorn}'],
    ['QUEUE_SHARDS', '0'],
    ['QUEUE_SHARDS', '65'],
    ['REDIS_URL', 'http://localhost:6379'],
    ['ADMIN_API_KEY', 'too-short'],
    ['METRICS_TOKEN', 'too-short'],
    ['METRICS_TOKEN', 'long enough, but with spaces'],
    ['ADMIN_API_KEY', 'aaaaaaaaaaaaaaaa'],
    ['METRICS_TOKEN', '0123456789abcdef'],
    ['ENCRYPTION_KEY', '0'.repeat(64)],
    ['ADMIN_API_KEYS', 'alice'],
    ['ADMIN_ALLOWED_IPS', 'localhost'],
    ['AUTH_FAILURES_PER_MINUTE', '0'],
    ['METRICS_PUBLIC', 'yes'],
    ['DOCS', 'no'],
    ['ENCRYPTION_KEY', 'too-short'],
    ['ALLOW_TARGET_RANGES', '10.0.0.0/33'],
    ['ALLOW_TARGET_RANGES', 'none,10.0.0.0/8'],
    ['ALLOW_TARGET_RANGES', '10.0.0.0/8,localhost'],
    ['LOG_LEVEL', 'loud'],
    ['RETRY_POLICY', 'never'],
    ['MAX_ATTEMPTS', '0'],
    ['MAX_ATTEMPTS', '101'],
    ['MAX_ATTEMPTS', '2.5'],
    ['RETRY_BASE_DELAY', '-1'],
    ['RETRY_MAX_DELAY', 'long'],
    ['RETRY_AFTER_CAP_SECONDS', '86401'],
    ['DELIVERY_TIMEOUT_MS', '30001'],
    ['DELIVERY_TIMEOUT_MS', '10s'],
    ['CONNECT_TIMEOUT_MS', '1'],
    ['WORKER_COUNT', '0'],
    ['LANE_CONCURRENCY', '1001'],
    ['LEASE_SECONDS', '1.5'],
    ['SWEEP_INTERVAL_SECONDS', '0'],
    ['SHUTDOWN_DEADLINE_SECONDS', 'Infinity'],
    ['QUEUE_MAXSIZE', 'NaN'],
    ['MAX_PAYLOAD_BYTES', '1MB'],
    ['MAX_BATCH_BYTES', '0'],
    ['RETENTION_HOURS', '0.5'],
    ['DLQ_RETENTION_DAYS', '366'],
    ['CLEANUP_INTERVAL_HOURS', '0'],
  ])('refuses %s=%s by its name', (name, value) => {
    expect(mistakes({ [name]: value })).toEqual([expect.stringMatching(`^${name} .+`)]);
  });

  it.each<[string, string, Partial<Config>]>([
    ['PORT', '0', { port: 0 }],
    ['PORT', ' 9000 ', { port: 9000 }],
    ['PORT', '', { port: 8000 }],
    ['REDIS_URL', 'rediss://queue', { redisUrl: 'rediss://queue' }],
    ['REDIS_URL', 'redis+cluster://a:1,b:2', { redisUrl: 'redis+cluster://a:1,b:2' }],
    ['QUEUE_SHARDS', '8', { queueShards: 8 }],
    ['LOG_LEVEL', 'WARN', { logLevel: 'warn' }],
    ['PUBLIC_URL', 'https://Hooks.example.com', { publicUrl: 'https://hooks.example.com' }],
    ['PUBLIC_URL', 'http://a.b:81/in/', { publicUrl: 'http://a.b:81/in' }],
    ['SWEEP_INTERVAL_SECONDS', '0.1', { sweepIntervalMs: 100 }],
    ['CLEANUP_INTERVAL_HOURS', '12', { cleanupIntervalMs: 43_200_000 }],
    ['RETENTION_HOURS', '1', { retentionHours: 1 }],
    ['DELIVERY_TIMEOUT_MS', '30000', { deliveryTimeoutMs: 30_000 }],
  ])('takes %s=%s', (name, value, expected) => {
    expect(loadConfig({ [name]: value })).toMatchObject(expected);
  });

  it.each([
    ['9', 1],
    ['10', 1],
    ['11', 0],
  ])('a lease of %s s beside a time-out of 10 s makes %i mistakes', (LEASE_SECONDS, count) => {
    expect(mistakes({ LEASE_SECONDS, DELIVERY_TIMEOUT_MS: '10000' })).toHaveLength(count);
  });

  it.each<[Record<string, string>, number[]]>([
    [{ RETRY_POLICY: 'fast' }, [1, 2, 4, 8, 16, 32]],
    [{ MAX_ATTEMPTS: '1' }, []],
    [{ MAX_ATTEMPTS: '3' }, [5, 10]],
    [{ RETRY_BASE_DELAY: '1' }, [1, 2, 4, 8]],
    [{ RETRY_BASE_DELAY: '600' }, [600, 600, 600, 600]],
    [{ RETRY_MAX_DELAY: '12' }, [5, 10, 12, 12]],
    [{ MAX_ATTEMPTS: '4', RETRY_BASE_DELAY: '1', RETRY_MAX_DELAY: '2' }, [1, 2, 2]],
    [{ RETRY_BASE_DELAY: '0.5', MIN_RETRY_DELAY_SECONDS: '0.5', MAX_ATTEMPTS: '2' }, [0.5]],
    [{ RETRY_POLICY: 'fast', MAX_ATTEMPTS: '2' }, [5]],
  ])('%o retries after %o seconds', (env, seconds) => {
    expect(loadConfig(env).retryPolicy.delaysMs).toEqual(seconds.map((delay) => delay * 1000));
  });
});

it('has no default policy that is faster than the least delay', () => {
  expect(mistakes({ RETRY_BASE_DELAY: '0.5' })).toEqual([
    'RETRY_BASE_DELAY must not be less than MIN_RETRY_DELAY_SECONDS',
  ]);
});

it('names every mistake at once, and where to read more', () => {
  const env = { ROLE: 'boss', PORT: 'x', DATABASE_URL: 'y', LOG_LEVEL: 'z', RETRY_POLICY: 'q' };
  expect(mistakes(env).map((line) => line.split(' ')[0])).toEqual(Object.keys(env));
  expect(() => loadConfig(env)).toThrow('See .env.example');
});

it('does not repeat a secret that is wrong', () => {
  const found = mistakes({
    ADMIN_API_KEY: 'hunter2',
    DATABASE_URL: 'pg://u:hunter2@db',
    ENCRYPTION_KEY: `${ENCRYPTION_KEY},hunter2`,
  });
  expect(found).toHaveLength(3);
  expect(found.join()).not.toContain('hunter2');
});

it('can be completed with what only starting finds out', () => {
  const config = loadConfig({ PORT: '9000' });
  const completed = config.with({ databaseUrl: 'postgresql://embedded' });
  expect(completed).toBeInstanceOf(Config);
  expect(completed).toMatchObject({ port: 9000, databaseUrl: 'postgresql://embedded' });
  expect(config.databaseUrl).toBe('');
});
