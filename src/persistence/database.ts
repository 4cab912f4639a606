import { Injectable } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import type { Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';
import { DataSource } from 'typeorm';

/** A hot statement: the name makes Postgres plan it once a connection. The text must never vary under one name. */
export interface Statement {
  name?: string;
  text: string;
  /** Milliseconds that it may take, where it may take longer than others; Postgres has its own limit as well. */
  query_timeout?: number;
}

/** Runs statements: the pool, or one connection of it inside a transaction. */
export interface Connection {
  run<Row extends QueryResultRow>(statement: Statement | string, values?: unknown[]): Promise<Row[]>;
  /**
   * Runs a statement that only reads, which Postgres cancels after `limitMs` milliseconds.
   * @returns undefined when it was cancelled
   */
  runWithin<Row extends QueryResultRow>(
    limitMs: number,
    statement: Statement | string,
    values?: unknown[],
  ): Promise<Row[] | undefined>;
  /** Commits what `work` did, or none of it; in a transaction it is a part of that one. */
  transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T>;
}

/**
 * Plain SQL on the connections of `DATABASE_POOL_SIZE`, which TypeORM owns: those of ingest, claims, results, the sweep,
 * heartbeats, readiness and whatever changes something. Reads have others: see {@link ReadDatabase}.
 */
@Injectable()
export class Database implements Connection {
  protected readonly pool: Pool;

  constructor(@InjectDataSource() dataSource: DataSource) {
    this.pool = (dataSource.driver as unknown as { master: Pool }).master;
  }

  /** @returns the rows, in Postgres' own column names */
  async run<Row extends QueryResultRow>(
    statement: Statement | string,
    values: unknown[] = [],
  ): Promise<Row[]> {
    return (await send<Row>(this.pool, statement, values)).rows;
  }

  async runWithin<Row extends QueryResultRow>(
    limitMs: number,
    statement: Statement | string,
    values: unknown[] = [],
  ): Promise<Row[] | undefined> {
    return this.transaction((connection) => connection.runWithin<Row>(limitMs, statement, values));
  }

  /** Commits what `work` did, or none of it. Never hold one open across HTTP. */
  async transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return inTransaction(this.pool, 'begin', work);
  }

  /**
   * Runs `work` in the one process that gets the lock of this name, and nowhere else meanwhile.
   * @returns whether this process was the one
   */
  async exclusively(lockName: string, work: () => Promise<void>): Promise<boolean> {
    return withClient(this.pool, async (client) => {
      const key = [`posthorn:${lockName}`];
      const { rows } = await client.query<{ got: boolean }>(
        'select pg_try_advisory_lock(hashtextextended($1, 0)) as got',
        key,
      );
      if (!rows[0]?.got) return false;
      try {
        await work();
      } finally {
        await client.query('select pg_advisory_unlock(hashtextextended($1, 0))', key);
      }
      return true;
    });
  }
}

/** @param begin the statement that begins the transaction */
export function inTransaction<T>(
  pool: Pool,
  begin: string,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  return withClient(pool, async (client) => {
    await client.query(begin);
    try {
      const result = await work(connectionOf(client));
      await client.query('commit');
      return result;
    } catch (error) {
      // If even this fails the connection is broken, and what was begun on it is void.
      await client.query('rollback').catch(() => undefined);
      throw error;
    }
  });
}

/** A connection of its own; one that broke is thrown away rather than given back. */
async function withClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  // A connection that breaks between two statements would otherwise end the process.
  const ignoreBreak = () => undefined;
  client.on('error', ignoreBreak);
  let broken = true;
  try {
    const result = await work(client);
    broken = false;
    return result;
  } catch (error) {
    broken = isTemporary(error) && !isCancelled(error);
    throw error;
  } finally {
    client.off('error', ignoreBreak);
    client.release(broken);
  }
}

/** Takes back what a limited statement has set, and its failure. */
const LIFT_LIMIT = 'rollback to savepoint limited; release savepoint limited;';

function connectionOf(client: PoolClient): Connection {
  let isLimited = false;
  const connection: Connection = {
    run: async <Row extends QueryResultRow>(statement: Statement | string, values: unknown[] = []) => {
      if (isLimited) await client.query(LIFT_LIMIT);
      isLimited = false;
      return (await send<Row>(client, statement, values)).rows;
    },
    runWithin: async <Row extends QueryResultRow>(
      limitMs: number,
      statement: Statement | string,
      values: unknown[] = [],
    ) => {
      const limit = `savepoint limited; set local statement_timeout = ${Math.max(1, Math.ceil(limitMs))}`;
      // One message, so that a limit costs one round trip.
      await client.query(isLimited ? LIFT_LIMIT + limit : limit);
      isLimited = true;
      try {
        return (await send<Row>(client, statement, values)).rows;
      } catch (error) {
        if (isCancelled(error)) return undefined;
        throw error;
      }
    },
    transaction: (work) => work(connection),
  };
  return connection;
}

export function send<Row extends QueryResultRow>(
  target: Pool | PoolClient,
  statement: Statement | string,
  values: unknown[],
): Promise<QueryResult<Row>> {
  return typeof statement === 'string'
    ? target.query<Row>(statement, values)
    : target.query<Row>({ ...statement, values });
}

/** Whether Postgres refused the data itself (SQLSTATE class 22 or 23), so that the same statement can never work. */
export function isDataError(error: unknown): boolean {
  return /^2[23]/.test(sqlState(error));
}

/** Whether Postgres cancelled the statement, for the time that it took or because an operator asked for it. */
export function isCancelled(error: unknown): boolean {
  return sqlState(error) === '57014';
}

/** Whether that was a statement on the connections for reads, which have a time limit that asking for less can meet. */
export function isReadTimeout(error: unknown): boolean {
  return isCancelled(error) && (error as { isOfRead?: unknown }).isOfRead === true;
}

/** SQLSTATE: no connection, a standby, rolled back for others' sake, no resources, no lock in time, ended by the server. */
const TEMPORARY = /^(08|25006|40|53|55P03|57)/;

/** Whether the statement failed for want of a healthy server, so that it may work later. */
export function isTemporary(error: unknown): boolean {
  const code = sqlState(error);
  return code === '' || !/^[0-9A-Z]{5}$/.test(code) || TEMPORARY.test(code);
}

function sqlState(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}
