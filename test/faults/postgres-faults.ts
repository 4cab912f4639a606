import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { waitFor } from '../support/wait-for.js';
import type { Stand } from './stand.js';

/** What others do to a PostgreSQL that Posthorn shares with them. */

const OF_POSTHORN = `application_name like 'posthorn%' and datname = current_database()`;

export async function untilPostgresAnswers({ database }: Stand): Promise<void> {
  await waitFor(() => database.query('select 1'), { what: 'PostgreSQL to answer' });
}

/** kill -9 of one server process: PostgreSQL ends all the others and goes through its recovery. */
export async function killBackend({ database }: Stand, pick: (count: number) => number): Promise<void> {
  const { rows } = await database.query<{ pid: number }>(
    `select pid from pg_stat_activity where ${OF_POSTHORN} order by pid`,
  );
  process.kill(rows[pick(rows.length)]!.pid, 'SIGKILL');
}

/** pg_terminate_backend of every connection of the service, over and over. */
export async function terminateAll({ database }: Stand, forMs: number): Promise<void> {
  const endsAt = performance.now() + forMs;
  while (performance.now() < endsAt) {
    await database.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${OF_POSTHORN}`);
    await sleep(100);
  }
}

/** Somebody else holds every table that deliveries need, so each statement occupies its connection. */
export async function holdLocks({ databaseUrl }: Stand, forMs: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('begin');
  await client.query('lock table delivery in access exclusive mode');
  await sleep(forMs);
  await client.end();
}

/** Somebody else takes all that max_connections allows; the service's own connections are ended, so it has none. */
export async function takeEveryConnection(stand: Stand, forMs: number): Promise<void> {
  const taken: pg.Client[] = [];
  const take = async (): Promise<boolean> => {
    const client = new pg.Client({ connectionString: stand.databaseUrl });
    client.on('error', () => undefined);
    try {
      await client.connect();
    } catch {
      return false;
    }
    taken.push(client);
    return true;
  };
  const takeAll = async (): Promise<void> => {
    while (await take());
  };
  await takeAll();
  const endsAt = performance.now() + forMs;
  while (performance.now() < endsAt) {
    await taken[0]!.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${OF_POSTHORN}`);
    await takeAll();
    await sleep(50);
  }
  await Promise.all(taken.map((client) => client.end()));
}
