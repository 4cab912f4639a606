import { KeyRing } from '../domain/encryption.js';
import { AddressRanges } from '../domain/address-ranges.js';
import { nat64Carrier } from '../domain/ipv4-carriers.js';
import { AddressRules } from '../domain/target-address.js';
import {
  DEFAULT_OPERATOR,
  operatorKey,
  type OperatorKey,
  parseOperatorKeys,
  readBearerSecret,
  requireDistinct,
} from '../domain/operator-key.js';
import { RetryPolicy, resolveRetryPolicy } from '../domain/retry-policy.js';
import type { RateLimitRule } from '../domain/token-bucket.js';
import { readRedisUrl } from './redis-url.js';

export const ROLES = ['api', 'worker', 'scheduler', 'all'] as const;
export type Role = (typeof ROLES)[number];

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

/** One environment variable: how it is read, what it is when absent. Throws a sentence when the value is bad. */
interface Variable<T> {
  read: (value: string) => T;
  fallback: T;
  /** An empty value is one to be read, not the absence of one. */
  readsEmpty?: true;
}

/**
 * Every environment variable that Posthorn knows. `.env.example` documents each of them, and a test keeps the
 * two in step.
 */
const VARIABLES = {
  ROLE: oneOf(ROLES, 'all'),
  PORT: wholeNumber(8000, 0, 65_535),
  HOST: text(),
  DATABASE_URL: url(['postgres:', 'postgresql:']),
  DATABASE_POOL_SIZE: wholeNumber(10, 4, 500),
  DATABASE_READ_POOL_SIZE: wholeNumber(4, 2, 500),
  DATABASE_READ_URL: url(['postgres:', 'postgresql:']),
  REDIS_URL: variable<string | null>(null, (value) => (readRedisUrl(value), value)),
  QUEUE_PREFIX: variable('posthorn', (value) => {
    if (/[{}]/.test(value)) throw new Error('must have no { and }: they are added where Redis needs them');
    return value;
  }),
  QUEUE_SHARDS: wholeNumber(1, 1, 64),
  DATA_DIR: variable('.posthorn', (value) => value),
  ADMIN_API_KEY: bearerToken(),
  ADMIN_API_KEYS: variable<readonly OperatorKey[]>([], parseOperatorKeys),
  ADMIN_ALLOWED_IPS: addressRanges(),
  AUTH_FAILURES_PER_MINUTE: wholeNumber(100, 1, 10_000_000),
  METRICS_TOKEN: bearerToken(),
  METRICS_PUBLIC: onOrOff(false),
  DOCS: onOrOff(true),
  ENCRYPTION_KEY: variable<KeyRing | null>(null, (value) => KeyRing.parse(value)),
  ALLOW_TARGET_RANGES: targetRanges(),
  NAT64_PREFIXES: list((prefix) => (nat64Carrier(prefix), prefix)),
  TRUSTED_PROXIES: addressRanges(),
  CORS_ORIGINS: origins(),
  PUBLIC_URL: publicUrl(),
  TARGET_VERIFICATION: oneOf(['off', 'required'], 'off'),
  TENANT_RATE_LIMIT: decimal(1_000, 0.01, 1_000_000),
  TENANT_RATE_BURST: wholeNumber(5_000, 1, 10_000_000),
  TENANT_MAX_API_KEYS: wholeNumber(100, 2, 10_000),
  TENANT_MAX_SUBSCRIPTIONS: wholeNumber(10_000, 1, 1_000_000),
  TENANT_MAX_SUBSCRIPTIONS_PER_HOST: wholeNumber(500, 1, 1_000_000),
  LOG_LEVEL: variable<(typeof LOG_LEVELS)[number]>('info', (value) =>
    oneOf(LOG_LEVELS, 'info').read(value.toLowerCase()),
  ),

  RETRY_POLICY: variable('standard', (value) => (resolveRetryPolicy(value), value)),
  MAX_ATTEMPTS: optional(wholeNumber(1, 1, 100)),
  RETRY_BASE_DELAY: optional(decimal(0, 0, 86_400)),
  RETRY_MAX_DELAY: optional(decimal(0, 0, 30 * 86_400)),
  RETRY_AFTER_CAP_SECONDS: wholeNumber(3600, 0, 86_400),
  MIN_RETRY_DELAY_SECONDS: decimal(1, 0, 3_600),
  DELIVERY_TIMEOUT_MS: wholeNumber(10_000, 100, 30_000),
  CONNECT_TIMEOUT_MS: wholeNumber(5_000, 50, 30_000),

  DESTINATION_RATE_LIMIT: wholeNumber(2_000, 0, 1_000_000),
  DESTINATION_CONCURRENCY: wholeNumber(512, 0, 100_000),
  WORKER_COUNT: wholeNumber(2_048, 1, 100_000),
  LANE_CONCURRENCY: wholeNumber(64, 1, 1_000),
  LEASE_SECONDS: wholeNumber(60, 1, 3_600),
  SWEEP_INTERVAL_SECONDS: decimal(5, 0.1, 300),
  SHUTDOWN_DEADLINE_SECONDS: decimal(25, 0.1, 600),

  QUEUE_MAXSIZE: wholeNumber(10_000, 1, 1_000_000),
  MAX_PAYLOAD_BYTES: wholeNumber(1_048_576, 1_024, 64 * 1_048_576),
  MAX_HOPS: wholeNumber(4, 1, 100),
  MAX_BATCH_BYTES: wholeNumber(16 * 1_048_576, 1_024, 256 * 1_048_576),

  RETENTION_HOURS: decimal(72, 1, 24 * 365),
  DLQ_RETENTION_DAYS: decimal(30, 1, 365),
  AUDIT_RETENTION_DAYS: decimal(90, 1, 3_650),
  STATS_RETENTION_DAYS: decimal(90, 1, 3_650),
  CLEANUP_INTERVAL_HOURS: decimal(1, 0.001, 24 * 7),
} satisfies Record<string, Variable<unknown>>;

const LOOPBACK = '127.0.0.0/8,::1';

type Values = { [Name in keyof typeof VARIABLES]: (typeof VARIABLES)[Name]['fallback'] };

export const VARIABLE_NAMES = Object.keys(VARIABLES) as (keyof Values)[];

/** The settings of one process. Times carry their unit in the name. */
export class Config {
  readonly role: Role;
  readonly port: number;
  readonly host: string;
  /** Empty until the embedded Postgres runs, when no DATABASE_URL was given. */
  readonly databaseUrl: string;
  readonly databasePoolSize: number;
  /** Connections for what people look at, beside the others; as many to a replica. */
  readonly databaseReadPoolSize: number;
  /** A replica for the read side; null: everything is read from the primary. */
  readonly databaseReadUrl: string | null;
  /** Null: the in-process lane scheduler, for a single process. See {@link readRedisUrl} for its forms. */
  readonly redisUrl: string | null;
  readonly queuePrefix: string;
  /** Bull queues among which the lanes are shared out. */
  readonly queueShards: number;
  readonly dataDir: string;
  /** The short form of an operator key; see {@link allOperatorKeys}. */
  readonly adminApiKey: string | null;
  readonly namedOperatorKeys: readonly OperatorKey[];
  /** CIDRs that operator keys may be used from; null: from everywhere. */
  readonly adminAllowedIps: AddressRanges | null;
  /** Wrong keys that are looked up for one address in a minute, and at once. */
  readonly authFailuresPerMinute: number;
  /** Opens /metrics, as operator keys do. */
  readonly metricsToken: string | null;
  /** Whether /metrics shows what names no tenant without a key. */
  readonly metricsArePublic: boolean;
  /** Whether /docs and /docs-json are served. */
  readonly servesDocs: boolean;
  /** For the secrets of subscriptions and sources. Null in a process that needs none of them. */
  readonly encryptionKeys: KeyRing | null;
  readonly addressRules: AddressRules;
  /** Targets on loopback would be allowed by default, but for a HOST that lets other machines in. */
  readonly isLoopbackClosedByHost: boolean;
  /** A target gets deliveries only once it has answered a challenge. */
  readonly requiresVerification: boolean;
  /** CIDRs of the proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** Origins of web pages that browsers let call the API. */
  readonly corsOrigins: readonly string[];
  /** Where the world reaches this service, without a slash at the end; null: unknown. */
  readonly publicUrl: string | null;
  /** That have not expired. */
  readonly tenantMaxApiKeys: number;
  readonly tenantMaxSubscriptions: number;
  /** Of a tenant, to one host. */
  readonly tenantMaxSubscriptionsPerHost: number;
  /** For tenants without a limit of their own. */
  readonly tenantRate: RateLimitRule;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly retryPolicy: RetryPolicy;
  readonly retryAfterCapMs: number;
  /** The least time between a failure and the next attempt, whatever a retry policy says. */
  readonly minRetryDelaySeconds: number;
  readonly deliveryTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Requests a second to one destination, of all tenants and processes; 0: no limit. */
  readonly destinationRateLimit: number;
  /** Requests open to one destination from one worker process; 0: no limit. */
  readonly destinationConcurrency: number;
  /** Deliveries in flight in one worker process. */
  readonly workerCount: number;
  /** Deliveries in flight to one subscription from one worker process. */
  readonly laneConcurrency: number;
  readonly leaseSeconds: number;
  readonly sweepIntervalMs: number;
  readonly shutdownDeadlineMs: number;
  /** Events accepted from the network and not yet committed, at most. */
  readonly queueMaxSize: number;
  readonly maxPayloadBytes: number;
  readonly maxBatchBytes: number;
  /** How often an event may have been delivered before it comes in. */
  readonly maxHops: number;
  readonly retentionHours: number;
  readonly dlqRetentionDays: number;
  readonly auditRetentionDays: number;
  /** Of statistics by the hour; those by the minute go with the events. */
  readonly statsRetentionDays: number;
  readonly cleanupIntervalMs: number;

  constructor(values: Values) {
    const embedded = values.DATABASE_URL === null;
    this.role = values.ROLE;
    this.port = values.PORT;
    this.host = values.HOST ?? (embedded ? '127.0.0.1' : '0.0.0.0');
    this.databaseUrl = values.DATABASE_URL ?? '';
    this.databasePoolSize = values.DATABASE_POOL_SIZE;
    this.databaseReadPoolSize = values.DATABASE_READ_POOL_SIZE;
    this.databaseReadUrl = values.DATABASE_READ_URL;
    this.redisUrl = values.REDIS_URL;
    this.queuePrefix = values.QUEUE_PREFIX;
    this.queueShards = values.QUEUE_SHARDS;
    this.dataDir = values.DATA_DIR;
    this.adminApiKey = values.ADMIN_API_KEY;
    this.namedOperatorKeys = values.ADMIN_API_KEYS;
    this.adminAllowedIps =
      values.ADMIN_ALLOWED_IPS.length === 0 ? null : AddressRanges.parse(values.ADMIN_ALLOWED_IPS);
    this.authFailuresPerMinute = values.AUTH_FAILURES_PER_MINUTE;
    this.metricsToken = values.METRICS_TOKEN;
    this.metricsArePublic = values.METRICS_PUBLIC || (values.METRICS_TOKEN === null && isLoopback(this.host));
    this.servesDocs = values.DOCS;
    this.encryptionKeys = values.ENCRYPTION_KEY;
    // What other machines can reach is not to call services that trust their own machine.
    const opensLoopback = embedded && isLoopback(this.host);
    const addressRules = values.ALLOW_TARGET_RANGES ?? AddressRules.parse(opensLoopback ? LOOPBACK : '');
    this.addressRules = addressRules.withNat64(values.NAT64_PREFIXES);
    this.isLoopbackClosedByHost = embedded && !opensLoopback && values.ALLOW_TARGET_RANGES === null;
    this.requiresVerification = values.TARGET_VERIFICATION === 'required';
    this.trustedProxies = values.TRUSTED_PROXIES;
    this.corsOrigins = values.CORS_ORIGINS;
    this.publicUrl = values.PUBLIC_URL;
    this.tenantMaxApiKeys = values.TENANT_MAX_API_KEYS;
    this.tenantMaxSubscriptions = values.TENANT_MAX_SUBSCRIPTIONS;
    this.tenantMaxSubscriptionsPerHost = values.TENANT_MAX_SUBSCRIPTIONS_PER_HOST;
    this.tenantRate = { perSecond: values.TENANT_RATE_LIMIT, burst: values.TENANT_RATE_BURST };
    this.logLevel = values.LOG_LEVEL;
    this.retryPolicy = defaultRetryPolicy(values);
    this.retryAfterCapMs = values.RETRY_AFTER_CAP_SECONDS * 1000;
    this.minRetryDelaySeconds = values.MIN_RETRY_DELAY_SECONDS;
    this.deliveryTimeoutMs = values.DELIVERY_TIMEOUT_MS;
    this.connectTimeoutMs = values.CONNECT_TIMEOUT_MS;
    this.destinationRateLimit = values.DESTINATION_RATE_LIMIT;
    this.destinationConcurrency = values.DESTINATION_CONCURRENCY;
    this.workerCount = values.WORKER_COUNT;
    this.laneConcurrency = values.LANE_CONCURRENCY;
    this.leaseSeconds = values.LEASE_SECONDS;
    this.sweepIntervalMs = values.SWEEP_INTERVAL_SECONDS * 1000;
    this.shutdownDeadlineMs = values.SHUTDOWN_DEADLINE_SECONDS * 1000;
    this.queueMaxSize = values.QUEUE_MAXSIZE;
    this.maxPayloadBytes = values.MAX_PAYLOAD_BYTES;
    this.maxBatchBytes = values.MAX_BATCH_BYTES;
    this.maxHops = values.MAX_HOPS;
    this.retentionHours = values.RETENTION_HOURS;
    this.dlqRetentionDays = values.DLQ_RETENTION_DAYS;
    this.auditRetentionDays = values.AUDIT_RETENTION_DAYS;
    this.statsRetentionDays = values.STATS_RETENTION_DAYS;
    this.cleanupIntervalMs = values.CLEANUP_INTERVAL_HOURS * 3_600_000;
  }

  /** Every key of an operator, that of ADMIN_API_KEY included. */
  get allOperatorKeys(): readonly OperatorKey[] {
    return operatorKeys(this.adminApiKey, this.namedOperatorKeys);
  }

  /** This configuration with what only becomes known while starting: the embedded database, generated keys. */
  with(changes: Partial<Config>): Config {
    return Object.assign(Object.create(Config.prototype) as Config, this, changes);
  }
}

/** Thrown by {@link loadConfig} with every mistake at once, a line each. */
export class InvalidConfig extends Error {}

/**
 * Reads and checks the environment. An empty variable counts as absent, but for one whose empty value means something.
 * @throws InvalidConfig naming every variable that is wrong and what it should be
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const mistakes: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { read, fallback, readsEmpty }] of Object.entries<Variable<unknown>>(VARIABLES)) {
    const value = env[name]?.trim();
    const isGiven = value !== undefined && (value !== '' || readsEmpty);
    try {
      values[name] = isGiven ? read(value) : fallback;
    } catch (error) {
      mistakes.push(`${name} ${(error as Error).message}`);
    }
  }
  if (mistakes.length === 0) mistakes.push(...contradictions(values as Values));
  if (mistakes.length > 0) {
    throw new InvalidConfig(
      `The configuration is not valid:\n${mistakes.map((line) => `  - ${line}`).join('\n')}\nSee .env.example for what each variable means.`,
    );
  }
  return new Config(values as Values);
}

function operatorKeys(adminApiKey: string | null, named: readonly OperatorKey[]): readonly OperatorKey[] {
  return adminApiKey === null ? named : [operatorKey(DEFAULT_OPERATOR, adminApiKey), ...named];
}

function contradictions(values: Values): string[] {
  const found: string[] = [];
  try {
    requireDistinct(operatorKeys(values.ADMIN_API_KEY, values.ADMIN_API_KEYS));
  } catch (error) {
    found.push(`ADMIN_API_KEYS, with "${DEFAULT_OPERATOR}" of ADMIN_API_KEY, ${(error as Error).message}`);
  }
  if (values.ROLE !== 'all' && (values.DATABASE_URL === null || values.REDIS_URL === null)) {
    found.push(
      `ROLE=${values.ROLE} needs DATABASE_URL and REDIS_URL: separate processes share Postgres and Redis (without them only ROLE=all works)`,
    );
  }
  if (values.LEASE_SECONDS * 1000 < values.DELIVERY_TIMEOUT_MS + 1_000) {
    found.push(
      'LEASE_SECONDS must exceed DELIVERY_TIMEOUT_MS by 1 s or more, or attempts would be sent twice',
    );
  }
  if (values.RETRY_BASE_DELAY !== null && values.RETRY_BASE_DELAY < values.MIN_RETRY_DELAY_SECONDS) {
    found.push('RETRY_BASE_DELAY must not be less than MIN_RETRY_DELAY_SECONDS');
  }
  if (values.DATABASE_URL !== null && values.ENCRYPTION_KEY === null && values.ROLE !== 'scheduler') {
    found.push(
      'ENCRYPTION_KEY is needed with DATABASE_URL: openssl rand -base64 32 makes one; give every process the same, and keep a copy apart from the database, since secrets cannot be read without it',
    );
  }
  if (values.DATABASE_READ_URL !== null && values.DATABASE_URL === null) {
    found.push('DATABASE_READ_URL needs DATABASE_URL: a replica has a primary');
  }
  return found;
}

/** MAX_ATTEMPTS, RETRY_BASE_DELAY and RETRY_MAX_DELAY, where set, describe an exponential default of their own. */
function defaultRetryPolicy(values: Values): RetryPolicy {
  const { MAX_ATTEMPTS, RETRY_BASE_DELAY, RETRY_MAX_DELAY } = values;
  if (MAX_ATTEMPTS === null && RETRY_BASE_DELAY === null && RETRY_MAX_DELAY === null) {
    return resolveRetryPolicy(values.RETRY_POLICY);
  }
  return resolveRetryPolicy({
    base_seconds: RETRY_BASE_DELAY ?? 5,
    factor: 2,
    max_seconds: Math.max(RETRY_MAX_DELAY ?? 300, RETRY_BASE_DELAY ?? 5),
    max_attempts: MAX_ATTEMPTS ?? 5,
  });
}

function variable<T>(fallback: T, read: (value: string) => T): Variable<T> {
  return { read, fallback };
}

function text(): Variable<string | null> {
  return variable<string | null>(null, (value) => value);
}

function list(read: (entry: string) => string): Variable<readonly string[]> {
  return variable<readonly string[]>([], (value) =>
    value
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '')
      .map(read),
  );
}

function addressRanges(): Variable<readonly string[]> {
  return list((range) => {
    AddressRanges.parse([range]);
    return range;
  });
}

/** `none`, or an empty list, closes what is open by default. */
function targetRanges(): Variable<AddressRules | null> {
  return {
    read: (value) => AddressRules.parse(value === 'none' ? '' : value),
    fallback: null,
    readsEmpty: true,
  };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || AddressRanges.parse(LOOPBACK.split(',')).has(host);
}

function origins(): Variable<readonly string[]> {
  return list((origin) => {
    if (
      URL.canParse(origin) &&
      /^https?:$/.test(new URL(origin).protocol) &&
      new URL(origin).origin === origin
    ) {
      return origin;
    }
    throw new Error(`must hold origins such as https://app.example.com, not "${origin}"`);
  });
}

/** What an Authorization header can carry, and a client cannot guess by trying. */
function bearerToken(): Variable<string | null> {
  return variable<string | null>(null, readBearerSecret);
}

/** Without a slash at the end. */
function publicUrl(): Variable<string | null> {
  return variable<string | null>(null, (value) => {
    const { protocol, username, password, search, hash, href } = URL.canParse(value)
      ? new URL(value)
      : new URL('none:');
    if (!/^https?:$/.test(protocol) || [username, password, search, hash].some((part) => part !== '')) {
      throw new Error(
        'must be an http or https URL such as https://hooks.example.com, without login, ? and #',
      );
    }
    return href.replace(/\/+$/, '');
  });
}

function oneOf<const T extends readonly string[]>(choices: T, fallback: T[number]): Variable<T[number]> {
  return variable<T[number]>(fallback, (value) => {
    if (!choices.includes(value)) throw new Error(`must be one of ${choices.join(', ')}, not "${value}"`);
    return value;
  });
}

function onOrOff(fallback: boolean): Variable<boolean> {
  return variable(fallback, (value) => {
    if (value !== 'on' && value !== 'off') throw new Error(`must be on or off, not "${value}"`);
    return value === 'on';
  });
}

function decimal(fallback: number, min: number, max: number): Variable<number> {
  return variable(fallback, (value) => {
    const number = Number(value);
    if (!Number.isFinite(number) || number < min || number > max) {
      throw new Error(`must be a number from ${min} to ${max}, not "${value}"`);
    }
    return number;
  });
}

function wholeNumber(fallback: number, min: number, max: number): Variable<number> {
  return variable(fallback, (value) => {
    const number = decimal(fallback, min, max).read(value);
    if (!Number.isInteger(number)) throw new Error(`must be a whole number, not "${value}"`);
    return number;
  });
}

function optional<T>({ read }: Variable<T>): Variable<T | null> {
  return variable<T | null>(null, read);
}

function url(protocols: string[]): Variable<string | null> {
  return variable<string | null>(null, (value) => {
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
      throw new Error(`must be a URL that begins with ${protocols.join('// or ')}//`);
    }
    return value;
  });
}
