import { Inject, Injectable } from '@nestjs/common';
import { Cluster, Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { readRedisUrl, RedisPlace } from '../config/redis-url.js';
import { LOGGER } from '../observability/logger.js';

/** What Bull wants a connection for: to send commands, to hear of delayed jobs, to wait for jobs. */
export type RedisPurpose = 'client' | 'subscriber' | 'bclient';

export type RedisClient = Redis | Cluster;

/** Bull listens on each connection once a queue, and every queue shares two of them. */
const MAX_LISTENERS = 1_000;

/** Milliseconds. An answer that takes longer never comes: the network swallowed it, and the connection is given up. */
const SILENT_CLIENT_MS = 10_000;
/** The same while waiting for jobs, where Bull asks for an answer every 5 seconds. */
const SILENT_WAIT_MS = 15_000;

/** All connections of this process to Redis: a single server, a primary behind Sentinels, or a Cluster. */
@Injectable()
export class RedisConnections {
  private readonly place: RedisPlace;
  private readonly shared = new Map<RedisPurpose, RedisClient>();
  private readonly waiting: RedisClient[] = [];

  constructor(
    config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.place = readRedisUrl(config.redisUrl ?? '');
  }

  get isCluster(): boolean {
    return this.place.kind === 'cluster';
  }

  /** All queues share the connection that sends and the one that listens; each waits for jobs on its own. */
  open(purpose: RedisPurpose): RedisClient {
    const known = this.shared.get(purpose);
    if (known) return known;
    const client = connect(this.place, purpose);
    client.setMaxListeners(MAX_LISTENERS);
    if (purpose === 'client') this.reportOutages(client);
    if (purpose === 'bclient') this.waiting.push(client);
    else this.shared.set(purpose, client);
    return client;
  }

  /**
   * Stops the process if its first login is refused, by a rejection that is not handled: a wrong password does not become
   * right by waiting. Later on, a login that is refused is an outage like others.
   */
  demandLogin(): void {
    const client = this.open('client');
    const judge = (error: Error): void => {
      const [refusal] = /\b(?:WRONGPASS|NOAUTH)\b.*/.exec(causeOf(error).message) ?? [];
      if (refusal === undefined) return;
      client.off('error', judge);
      void Promise.reject(new Error(refusal));
    };
    client.on('error', judge);
    client.once('ready', () => client.off('error', judge));
  }

  close(): void {
    for (const client of [...this.shared.values(), ...this.waiting]) client.disconnect();
  }

  /** One line when Redis goes away and one when it is back; ioredis itself tells at every try. */
  private reportOutages(client: RedisClient): void {
    let isAway = false;
    client.on('error', (error: Error) => {
      if (!isAway) this.logger.warn({ err: causeOf(error) }, 'redis.away');
      isAway = true;
    });
    client.on('ready', () => {
      if (isAway) this.logger.info('redis.back');
      isAway = false;
    });
  }
}

/**
 * The client that sends commands fails at once while Redis is not connected, since a notification is worthless later; the two that
 * wait for jobs must be patient, as Bull demands.
 */
function connect(place: RedisPlace, purpose: RedisPurpose): RedisClient {
  const options: RedisOptions = {
    connectTimeout: 5_000,
    // Ready is who may send commands and gets answers. Of the others, Bull wants to know nothing so exact.
    enableReadyCheck: purpose === 'client',
    // ioredis 5.11 without that check calls a connection ready when the answer to its own first words fails to come,
    // closed as it may be by then, and never opens another one. So it says none.
    disableClientInfo: true,
    ...(purpose === 'client'
      ? { maxRetriesPerRequest: 1, commandTimeout: 5_000, socketTimeout: SILENT_CLIENT_MS }
      : { maxRetriesPerRequest: null }),
    ...(purpose === 'bclient' && { socketTimeout: SILENT_WAIT_MS }),
  };
  const patient: RedisOptions = {
    ...options,
    retryStrategy: retryInMs,
    // A primary that became a replica keeps its connections; the new primary is found by connecting again.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
  };
  if (place.kind === 'server') return new Redis(place.url, patient);

  const login = {
    ...(place.username !== undefined && { username: place.username }),
    ...(place.password !== undefined && { password: place.password }),
  };
  if (place.kind === 'cluster') {
    return new Cluster(place.hosts, {
      clusterRetryStrategy: retryInMs,
      // Names stay names, so that a certificate can be compared with them.
      dnsLookup: (address, callback) => callback(null, address),
      redisOptions: { ...options, ...login, ...(place.tls && { tls: {} }) },
    });
  }
  return new Redis({
    ...patient,
    ...login,
    sentinels: place.hosts,
    name: place.name,
    db: place.database,
    sentinelCommandTimeout: 2_000,
    sentinelRetryStrategy: retryInMs,
    ...(place.sentinel.username !== undefined && { sentinelUsername: place.sentinel.username }),
    ...(place.sentinel.password !== undefined && { sentinelPassword: place.sentinel.password }),
    ...(place.tls && { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true }),
  });
}

const retryInMs = (attempt: number): number => Math.min(attempt * 50, 1_000);

/** What a Cluster says when no node would have it names none of the reasons itself. */
function causeOf(error: Error & { lastNodeError?: Error }): Error {
  return error.lastNodeError ?? error;
}
