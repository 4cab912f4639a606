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
}

/** Plain SQL on the connection pool that TypeORM owns. */
@Injectable()
export class Database implements Connection {
  private readonly pool: Pool;

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

  /** Commits what `work` did, or none of it. Never hold one open across HTTP. */
  async transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return this.withClient(async (client) => {
      await client.query('begin');
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

  /**
   * Runs `work` in the one process that gets the lock of this name, and nowhere else meanwhile.
   * @returns whether this process was the one
   */
  async exclusively(lockName: string, work: () => Promise<void>): Promise<boolean> {
    return this.withClient(async (client) => {
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

  /** A connection of its own; one that broke is thrown away rather than given back. */
  private async withClient<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    // A connection that breaks between two statements would otherwise end the process.
    const ignoreBreak = () => undefined;
    client.on('error', ignoreBreak);
    let broken = true;
    try {
      const result = await work(client);
      broken = false;
      return result;
    } catch (error) {
      broken = isTemporary(error);
      throw error;
    } finally {
      client.off('error', ignoreBreak);
      client.release(broken);
    }
  }
}

function connectionOf(client: PoolClient): Connection {
  return {
    run: async <Row extends QueryResultRow>(statement: Statement | string, values: unknown[] = []) =>
      (await send<Row>(client, statement, values)).rows,
  };
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
