import { randomUUID } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { percentiles } from './latencies.js';
import { payloadOf } from './payload.js';
import type { Stand } from './stand.js';

const ROWS_A_COMMIT = 100;
/** As many statements at once as the service itself has under way for one kind of batch. */
const BATCH_WRITERS = 2;
const SINGLE_WRITERS = 8;
const SYNCS = 200;
const BLOCK = Buffer.alloc(8_192, 1);

export interface InsertRates {
  /** Rows a second, {@link ROWS_A_COMMIT} rows a commit. */
  batchedRows: number;
  /** Commits a second, one row each. */
  singleRows: number;
}

/** What Postgres itself can take in here: rows of the payload's size under a UUID key, and nothing else. */
export async function measureInserts(
  { database }: Stand,
  payloadBytes: number,
  seconds: number,
): Promise<InsertRates> {
  await database.query('create table bench_row (id uuid primary key, payload text not null)');
  try {
    const payload = payloadOf(0, payloadBytes);
    const payloads = Array.from({ length: ROWS_A_COMMIT }, () => payload);
    const batches = await commitsPerSecond(database, BATCH_WRITERS, seconds, () => ({
      name: 'bench-rows',
      text: 'insert into bench_row select * from unnest($1::uuid[], $2::text[])',
      values: [payloads.map(() => randomUUID()), payloads],
    }));
    const singleRows = await commitsPerSecond(database, SINGLE_WRITERS, seconds, () => ({
      name: 'bench-row',
      text: 'insert into bench_row values ($1, $2)',
      values: [randomUUID(), payload],
    }));
    return { batchedRows: batches * ROWS_A_COMMIT, singleRows };
  } finally {
    await database.query('drop table bench_row');
  }
}

async function commitsPerSecond(
  database: pg.Pool,
  writers: number,
  seconds: number,
  statement: () => pg.QueryConfig,
): Promise<number> {
  const startedAt = performance.now();
  let commits = 0;
  const writer = async (): Promise<void> => {
    const client = await database.connect();
    try {
      while (performance.now() - startedAt < seconds * 1000) {
        await client.query(statement());
        commits++;
      }
    } finally {
      client.release();
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  return commits / ((performance.now() - startedAt) / 1000);
}

/** @returns the median time in microseconds that the disk takes to make 8 KiB durable */
export function measureDiskSync(folder: string): number {
  const path = join(folder, 'sync-probe');
  const file = openSync(path, 'w');
  try {
    const micros = Array.from({ length: SYNCS }, () => {
      writeSync(file, BLOCK);
      const startedAt = performance.now();
      fdatasyncSync(file);
      return (performance.now() - startedAt) * 1000;
    });
    return percentiles(micros).p50;
  } finally {
    closeSync(file);
    rmSync(path);
  }
}
