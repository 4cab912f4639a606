import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, Database } from '../database.js';

/** How long a lock may be waited for. Everything new on that table waits behind it. */
const WAIT_MS = 200;
/** For whatever held the lock to end, and for what had to wait to go on. */
const PAUSE_MS = 300;
const TRIES = 6;

/**
 * One transaction that changes the layout of the large tables, and no other one of the kind meanwhile. It should lock
 * one table only: no order of locking them suits every statement of the engine, and a deadlock would fail those. A
 * lock that cannot be had at once is asked for again and again, so that no statement waits behind it for long.
 * @throws Error of Postgres, see {@link isLockConflict}
 */
export async function changeLayout<T>(
  database: Database,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await database.transaction(async (connection) => {
        await connection.run(`select pg_advisory_xact_lock(hashtextextended('posthorn:partitions', 0))`);
        await connection.run(`set local lock_timeout = ${WAIT_MS}`);
        return work(connection);
      });
    } catch (error) {
      if (tries === TRIES || !isLockConflict(error)) throw error;
      await sleep(PAUSE_MS);
    }
  }
}

/** SQLSTATE lock_not_available, deadlock_detected. */
export function isLockConflict(error: unknown): boolean {
  return ['55P03', '40P01'].includes(String((error as { code?: unknown } | null)?.code));
}
