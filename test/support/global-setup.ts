import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/persistence/migrate.js';
import { execute, TEMPLATE_DATABASE, withDatabase } from './database.js';
import { startOwnPostgres } from './own-postgres.js';
import { startRedis } from './redis.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** A PostgreSQL server on which tests may create databases. */
    postgresUrl: string;
    /** A Redis server that tests may flush. */
    redisUrl: string;
  }
}

/**
 * One PostgreSQL and one Redis for the whole run: those of TEST_DATABASE_URL and TEST_REDIS_URL, else
 * started here, and a template database with the schema of today.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stops: (() => Promise<void>)[] = [];
  const stopAll = async (): Promise<void> => {
    for (let stop = stops.pop(); stop; stop = stops.pop()) await stop();
  };
  // An interrupted run skips its tear-down, so nothing here may need more than 'exit'.
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));

  try {
    const redisUrl = process.env['TEST_REDIS_URL'] ?? (await ownRedis(stops));
    const postgresUrl = process.env['TEST_DATABASE_URL'] ?? (await ownPostgres(stops));
    await execute(postgresUrl, `drop database if exists ${TEMPLATE_DATABASE} with (force)`);
    await execute(postgresUrl, `create database ${TEMPLATE_DATABASE}`);
    await migrate(withDatabase(postgresUrl, TEMPLATE_DATABASE));
    project.provide('postgresUrl', postgresUrl);
    project.provide('redisUrl', redisUrl);
  } catch (error) {
    await stopAll();
    throw error;
  }
  return stopAll;
}

async function ownRedis(stops: (() => Promise<void>)[]): Promise<string> {
  const redis = await startRedis();
  stops.push(() => redis.stop());
  return redis.url;
}

async function ownPostgres(stops: (() => Promise<void>)[]): Promise<string> {
  const postgres = await startOwnPostgres();
  stops.push(() => postgres.stop());
  return postgres.url;
}
