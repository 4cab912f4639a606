import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { DataSource } from 'typeorm';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { LOGGER } from '../observability/logger.js';
import { createReplicaPool, READS } from './data-source.js';
import { type Connection, Database, inTransaction, isCancelled, isDataError, send } from './database.js';

const CHECK_EVERY_MS = 5_000;
/** Every process gives a sign of life each 5 seconds, so a replica that keeps up has one that is not much older. */
const MAX_AGE_SECONDS = 30;
const BEAT_SECONDS = 5;

const AGE_OF_NEWEST_SIGN = {
  text: 'select extract(epoch from clock_timestamp() - max(seen_at))::float8 as age from heartbeat',
  query_timeout: 2_000,
};

/** What UnscopedStatement has too: no server's fault. */
const INSUFFICIENT_PRIVILEGE = '42501';

/** All statements of it see the database as it was at the first one. */
const BEGIN_SNAPSHOT = 'begin isolation level repeatable read read only';

type Work<T> = (snapshot: Connection) => Promise<T>;

/**
 * The connections of `DATABASE_READ_POOL_SIZE`, on which people's reads run: so many at once and no statement for longer
 * than READ_STATEMENT_MS, so that reads take nothing from ingest and delivery but CPU. It runs plain statements on the
 * primary; what may be a little old, as a snapshot on the replica of `DATABASE_READ_URL`, and on the primary while there
 * is none, it does not answer, or it lags far behind.
 */
@Injectable()
export class ReadDatabase extends Database implements OnApplicationShutdown {
  private readonly replica: Pool | null;
  private check: Promise<boolean> | undefined;
  private checkedAt = -Infinity;
  /** Undefined when it has to be judged first. */
  private isUsable: boolean | undefined;
  private lastVerdict: boolean | undefined;

  constructor(
    @InjectDataSource(READS) primary: DataSource,
    config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    super(primary);
    this.replica =
      config.databaseReadUrl === null
        ? null
        : createReplicaPool(config.databaseReadUrl, config.databaseReadPoolSize);
  }

  get hasReplica(): boolean {
    return this.replica !== null;
  }

  /** Everything that `work` reads is of one moment, which may be a little ago. */
  async snapshot<T>(work: Work<T>): Promise<T> {
    if (this.replica && (await this.mayUseReplica())) {
      try {
        return await inTransaction(this.replica, BEGIN_SNAPSHOT, work);
      } catch (error) {
        const { code } = error as { code?: unknown };
        const isOwnFault = error instanceof Problem || isDataError(error) || code === INSUFFICIENT_PRIVILEGE;
        // What takes too long on the replica must not take as long on the primary.
        if (isOwnFault || isCancelled(error)) throw error;
        // It is judged anew before it is asked again.
        this.isUsable = undefined;
        this.checkedAt = -Infinity;
      }
    }
    return this.primarySnapshot(work);
  }

  /** As {@link snapshot}, of the primary and of now. */
  primarySnapshot<T>(work: Work<T>): Promise<T> {
    return inTransaction(this.pool, BEGIN_SNAPSHOT, work);
  }

  /**
   * By how many seconds the replica is behind, at the most.
   * @throws Problem unavailable that says why it is not read from
   */
  async lagSeconds(): Promise<number> {
    if (!this.replica) throw new Problem('unavailable', 'there is none');
    const [row] = (await send<{ age: number | null }>(this.replica, AGE_OF_NEWEST_SIGN, [])).rows;
    if (row?.age == null) {
      throw new Problem('unavailable', 'is no replica of this database: it has no sign of life');
    }
    if (row.age > MAX_AGE_SECONDS) {
      throw new Problem('unavailable', `is ${Math.round(row.age)} seconds behind`);
    }
    return Math.max(row.age - BEAT_SECONDS, 0);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.replica?.end();
  }

  /** By the last check, which is repeated in the background; only who comes first waits for one. */
  private async mayUseReplica(): Promise<boolean> {
    if (performance.now() - this.checkedAt > CHECK_EVERY_MS) {
      this.check ??= this.judge().finally(() => (this.check = undefined));
    }
    return this.isUsable ?? (await this.check) ?? false;
  }

  private async judge(): Promise<boolean> {
    const wasUsable = this.lastVerdict;
    try {
      await this.lagSeconds();
      this.lastVerdict = true;
      if (wasUsable === false) this.logger.info('replica.back');
    } catch (error) {
      this.lastVerdict = false;
      if (wasUsable !== false) this.logger.warn({ err: error }, 'replica.away');
    }
    this.isUsable = this.lastVerdict;
    this.checkedAt = performance.now();
    return this.lastVerdict;
  }
}
