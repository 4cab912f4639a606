import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import type { RateLimitDecision, RateLimitRule } from '../domain/token-bucket.js';
import { withPatience } from '../domain/with-patience.js';
import { LOGGER } from '../observability/logger.js';
import { RedisClient, RedisConnections } from '../queue/redis-connections.js';
import { askBucket, BucketAnswer, BucketRequest } from './bucket-script.js';
import { BucketTable } from './bucket-table.js';
import { LeasedBucket } from './leased-bucket.js';
import { RateLimiter } from './rate-limiter.js';

/** Milliseconds. */
const RETRY_MS = 1_000;

/** Whose bucket Redis failed to answer for, and when to ask for it again: a node of a Cluster may fail alone. */
interface Away {
  key: string;
  rule: RateLimitRule;
  retryAtMs: number;
}

/**
 * For any number of processes: the buckets are in Redis, from which each process leases tokens to serve most requests
 * without asking. Without Redis each has buckets of its own.
 */
@Injectable()
export class RedisRateLimiter extends RateLimiter {
  /** A request waits no longer for Redis. */
  protected readonly patienceMs: number = 100;
  private readonly redis: RedisClient;
  private readonly keyPrefix: string;
  private readonly buckets = new BucketTable(LeasedBucket);
  private away: Away | undefined;

  constructor(
    connections: RedisConnections,
    config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    super();
    this.redis = connections.open('client');
    this.keyPrefix = `${config.queuePrefix}:rate:`;
  }

  take(
    key: string,
    rule: RateLimitRule,
    cost: number,
    paid = 0,
  ): RateLimitDecision | Promise<RateLimitDecision> {
    const nowMs = performance.now();
    const bucket = this.buckets.get(key, rule, nowMs);
    const decision = bucket.decideNow(cost, paid);
    if (decision) return decision;
    if (this.away) {
      if (nowMs >= this.away.retryAtMs) void this.tryAgain(this.away, nowMs);
      return bucket.take(cost, paid);
    }
    return new Promise((decide) => {
      bucket.waiting.push({ cost, paid, decide });
      if (!bucket.isAsking) void this.askWhileWaiting(key, bucket);
    });
  }

  /** A request that comes while Redis is being asked waits for the answer, and is part of the next question if need be. */
  private async askWhileWaiting(key: string, bucket: LeasedBucket): Promise<void> {
    bucket.isAsking = true;
    while (bucket.waiting.length > 0) await this.decideTogether(key, bucket);
    bucket.isAsking = false;
  }

  private async decideTogether(key: string, bucket: LeasedBucket): Promise<void> {
    const charges = bucket.waiting.splice(0);
    const lease = bucket.exchangeLease();
    const askedAtMs = performance.now();
    try {
      const answer = await this.ask(key, { ...lease, charges });
      bucket.learn(answer, lease.rule, askedAtMs, performance.now());
      charges.forEach(({ cost, paid, decide }, index) =>
        // What was admitted has been taken already.
        decide(answer.admitted[index] ? bucket.spend(0) : bucket.refuse(cost, paid)),
      );
      for (const charge of bucket.waiting.splice(0)) {
        const decision = bucket.decideNow(charge.cost, charge.paid);
        if (decision) charge.decide(decision);
        else bucket.waiting.push(charge);
      }
    } catch (error) {
      this.note({ key, rule: lease.rule, retryAtMs: performance.now() + RETRY_MS }, error);
      for (const { cost, paid, decide } of [...charges, ...bucket.waiting.splice(0)]) {
        decide(bucket.take(cost, paid));
      }
    }
  }

  /** Requests do not wait for this. */
  private async tryAgain(away: Away, nowMs: number): Promise<void> {
    away.retryAtMs = nowMs + RETRY_MS;
    try {
      await this.ask(away.key, { rule: away.rule, returned: 0, charges: [], lease: 0 });
      this.note(undefined);
    } catch {
      // Still away.
    }
  }

  /** @throws Error when Redis is not connected, refuses, or does not answer in time */
  private ask(key: string, request: BucketRequest): Promise<BucketAnswer> {
    if (this.redis.status !== 'ready') return Promise.reject(new Error(`Redis is ${this.redis.status}`));
    return withPatience(askBucket(this.redis, this.keyPrefix + key, request), this.patienceMs, 'Redis');
  }

  private note(away: Away | undefined, error?: unknown): void {
    if (away && !this.away) this.logger.warn({ err: error }, 'limits.per_process');
    if (!away && this.away) this.logger.info('limits.shared');
    this.away = away;
  }
}
