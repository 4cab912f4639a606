import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

/** How often pg_locks is looked at: what it shows may have lasted this much longer. */
const PERIOD_MS = 10;

export interface LockTimes {
  /** Milliseconds, at most, that one lock was held which keeps others from reading or writing a table. */
  longestHeld: number;
  heldOn: string;
  /** Milliseconds, at most, that one statement waited for a lock on a table. */
  longestWait: number;
  waitedFor: string;
}

interface Sighting {
  what: string;
  granted: boolean;
  first: number;
  last: number;
}

/** Looks at pg_locks again and again until it is stopped. */
export function watchLocks(database: pg.Pool): { stop(fromMs: number, toMs: number): Promise<LockTimes> } {
  const over: Sighting[] = [];
  const current = new Map<string, Sighting>();
  const stopped = new AbortController();
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      const at = Date.now();
      const { rows } = await database.query<{ key: string; what: string; granted: boolean }>(LOCKS);
      const seen = new Set(rows.map(({ key }) => key));
      for (const { key, what, granted } of rows) {
        const sighting = current.get(key) ?? { what, granted, first: at, last: at };
        current.set(key, { ...sighting, last: at });
      }
      for (const [key, sighting] of current) {
        if (seen.has(key)) continue;
        over.push(sighting);
        current.delete(key);
      }
      await sleep(PERIOD_MS);
    }
  })();
  return {
    stop: async (fromMs, toMs) => {
      stopped.abort();
      await watching;
      const meanwhile = [...over, ...current.values()].filter(
        ({ first, last }) => last >= fromMs && first <= toMs,
      );
      const [held, waited] = [true, false].map((granted) =>
        meanwhile
          .filter((sighting) => sighting.granted === granted)
          .reduce<{ ms: number; what: string }>(
            (longest, { first, last, what }) =>
              last - first + PERIOD_MS > longest.ms ? { ms: last - first + PERIOD_MS, what } : longest,
            { ms: 0, what: 'none' },
          ),
      );
      return { longestHeld: held!.ms, heldOn: held!.what, longestWait: waited!.ms, waitedFor: waited!.what };
    },
  };
}

/** Tables alone: those that others can see, which a copy that is being made is not. */
const LOCKS = {
  name: 'bench-locks',
  text: `
    select l.pid || ':' || l.relation || ':' || l.mode || ':' || l.granted as key, c.relname as what, l.granted
    from pg_locks l join pg_class c on c.oid = l.relation
    where l.locktype = 'relation' and c.relkind in ('r', 'p') and c.relnamespace = current_schema::regnamespace
      and (not l.granted or l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))`,
};
