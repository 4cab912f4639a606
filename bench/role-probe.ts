import { Redis } from 'ioredis';
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import pg from 'pg';
import { answerCalls } from './program.js';

/**
 * Preloaded into api, worker and scheduler: counts what they send to Postgres and Redis. A counter a statement is
 * all that it adds; the service's own code does not know of it.
 */

/** Statements sent to Postgres, by name where they have one. */
const statements: Record<string, number> = {};
const texts: Record<string, string> = {};
let redisCommands = 0;

const count = (statement: unknown): void => {
  const named =
    typeof statement === 'object' && statement !== null
      ? (statement as { name?: string; text?: string })
      : {};
  const name = named.name ?? 'others';
  statements[name] = (statements[name] ?? 0) + 1;
  if (named.name !== undefined) texts[name] = named.text ?? '';
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

/** Short enough for some 50,000 samples in ten busy seconds; the profiler then costs about a tenth. */
const SAMPLE_MICROS = 200;
let profiling: { session: Session; cpu: NodeJS.CpuUsage } | undefined;

const methods = {
  roundTrips: () => ({ statements: { ...statements }, redisCommands }),

  /** Those with a name, by it. */
  statementTexts: () => texts,

  startProfile: async () => {
    const session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_MICROS });
    await session.post('Profiler.start');
    profiling = { session, cpu: process.cpuUsage() };
  },

  /**
   * Writes the profile since {@link methods.startProfile} to this file.
   * @returns the CPU time that the process used meanwhile, all its threads included, in microseconds
   */
  stopProfile: async (path: string) => {
    if (!profiling) throw new Error('No profile was started.');
    const { user, system } = process.cpuUsage(profiling.cpu);
    const { profile } = await profiling.session.post('Profiler.stop');
    profiling.session.disconnect();
    profiling = undefined;
    writeFileSync(path, JSON.stringify(profile));
    return user + system;
  },
};

export type Probe = typeof methods;

answerCalls(methods);
