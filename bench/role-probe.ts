import { Redis } from 'ioredis';
import pg from 'pg';
import { answerCalls } from './program.js';

/**
 * Preloaded into api, worker and scheduler: counts what they send to Postgres and Redis. A counter a statement is
 * all that it adds; the service's own code does not know of it.
 */

/** Statements sent to Postgres, by name where they have one. */
const statements: Record<string, number> = {};
let redisCommands = 0;

const count = (statement: unknown): void => {
  const named = typeof statement === 'object' && statement !== null ? (statement as { name?: string }) : {};
  const name = named.name ?? 'others';
  statements[name] = (statements[name] ?? 0) + 1;
};

/* eslint-disable @typescript-eslint/unbound-method -- both are called with the receiver they were called on */
const { query } = pg.Client.prototype;
const { sendCommand } = Redis.prototype;
/* eslint-enable @typescript-eslint/unbound-method */

pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]): unknown {
  count(args[0]);
  return Reflect.apply(query, this, args);
} as typeof query;

Redis.prototype.sendCommand = function (this: Redis, ...args: Parameters<typeof sendCommand>): unknown {
  redisCommands++;
  return Reflect.apply(sendCommand, this, args);
};

const methods = {
  roundTrips: () => ({ statements: { ...statements }, redisCommands }),
};

export type Probe = typeof methods;

answerCalls(methods);
