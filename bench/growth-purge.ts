import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { allArrive, allRecorded } from './arrivals.js';
import { sourceOf } from './growth-scenarios.js';
import { percentiles, type Percentiles } from './latencies.js';
import { watchLocks, type LockTimes } from './lock-watch.js';
import type { BenchOptions } from './options.js';
import { createTenant } from './scenario.js';
import type { Stand } from './stand.js';

/** The purge as the scheduler does it, while the service is under full load. */

const POLL_MS = 100;
const PROBE_MS = 10;
/** The scheduler asks once a minute whether a purge is due; then it may take its time. */
const MAX_MS = 15 * 60_000;
const SLICE_SECONDS = 3;
/** A connection that has nothing more to do tells its counts of dead rows within ten seconds. */
const STATISTICS_MS = 11_000;

export interface PurgeFigures {
  /** What the service said in its log. */
  counts: Record<string, number | boolean>;
  seconds: number;
  /** Deliveries a second in the same run, until the purge began and while it ran. */
  deliveredBefore: number;
  deliveredDuring: number;
  locks: LockTimes;
  /** Milliseconds that small statements of a bystander took. */
  probes: Record<'insert' | 'claim', { before: Times; during: Times }>;
  /** Dead rows in all tables but those of today, which the load writes to. */
  deadBefore: number;
  deadAfter: number;
  /** Bytes of all tables but those of today. */
  sizeBefore: number;
  sizeAfter: number;
}

export type Times = Percentiles & { most: number };

export interface PurgeRun {
  /** Milliseconds since the epoch. */
  from: number;
  to: number;
  counts: Record<string, number | boolean>;
}

/** Makes the scheduler's next purge due, and waits until it is over. */
export async function purge(stand: Stand): Promise<PurgeRun> {
  const before = purgesIn(stand).length;
  await stand.database.query(`update maintenance_run set started_at = 'epoch'`);
  const deadline = Date.now() + MAX_MS;
  for (;;) {
    const run = purgesIn(stand)[before];
    if (run) return run;
    if (Date.now() > deadline) throw new Error('The scheduler did not purge.');
    await sleep(POLL_MS);
  }
}

/** So that none begins by itself. */
export async function postponePurge({ database }: Stand): Promise<void> {
  await database.query(
    `insert into maintenance_run (task, started_at) values ('cleanup', now())
     on conflict (task) do update set started_at = now()`,
  );
}

export async function measurePurge(stand: Stand, options: BenchOptions): Promise<PurgeFigures> {
  const { database } = stand;
  const tenant = await createTenant(stand, 1);
  const [deadBefore, sizeBefore] = [await deadRows(stand), await sizeOfPast(stand)];
  await stand.sink.call('reset', 0);
  const arrivals: [at: number, count: number][] = [];
  const probes = { insert: [] as [number, number][], claim: [] as [number, number][] };
  const locks = watchLocks(database);
  let isOn = true;
  let accepted = 0;

  const load = async (): Promise<void> => {
    for (let slice = 0; isOn; slice++) {
      const run = await stand.load.call('closedLoop', {
        ...sourceOf(stand, tenant.apiKey, `slice-${slice}`),
        connections: options.connections,
        batch: 1,
        events: Number.MAX_SAFE_INTEGER,
        seconds: SLICE_SECONDS,
      });
      accepted += run.accepted;
    }
  };
  const count = async (): Promise<void> => {
    while (isOn) {
      const { arrived } = await stand.sink.call('until', 0, 0);
      arrivals.push([Date.now(), arrived]);
      await sleep(POLL_MS);
    }
  };
  const probe = async (name: keyof typeof probes): Promise<void> => {
    while (isOn) {
      const [at, startedAt] = [Date.now(), performance.now()];
      await database.query(PROBES[name]);
      probes[name].push([at, performance.now() - startedAt]);
      await sleep(PROBE_MS);
    }
  };
  const bystanders = Promise.all([load(), count(), probe('insert'), probe('claim')]);
  let run: PurgeRun;
  try {
    run = await purge(stand);
  } finally {
    isOn = false;
    await bystanders;
  }
  const lockTimes = await locks.stop(run.from, run.to);
  await allArrive(stand, accepted);
  await allRecorded(stand, tenant.id);
  await sleep(STATISTICS_MS);
  const first = arrivals[0]?.[0] ?? run.from;
  const split = (name: keyof typeof probes) => ({
    before: summary(probes[name].filter(([at]) => at < run.from)),
    during: summary(probes[name].filter(([at, took]) => at + took >= run.from && at <= run.to)),
  });
  return {
    counts: run.counts,
    seconds: (run.to - run.from) / 1000,
    deliveredBefore: rateBetween(arrivals, first, run.from),
    deliveredDuring: rateBetween(arrivals, run.from, run.to),
    locks: lockTimes,
    probes: { insert: split('insert'), claim: split('claim') },
    deadBefore,
    deadAfter: await deadRows(stand),
    sizeBefore,
    sizeAfter: await sizeOfPast(stand),
  };
}

/** What ingestion locks, without a row; and the look that a worker takes at a lane. */
const PROBES = {
  insert: `
    with e as (insert into event select * from event where false),
         d as (insert into delivery select * from delivery where false),
         a as (insert into delivery_attempt select * from delivery_attempt where false)
    insert into idempotency_key select * from idempotency_key where false`,
  claim: `
    select id from delivery where subscription_id = '00000000-0000-0000-0000-000000000000' and next_attempt_at <= now()
    limit 1`,
};

function purgesIn({ folder }: Stand): PurgeRun[] {
  return readFileSync(join(folder, 'scheduler.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"cleanup.finished"'))
    .map((line) => {
      const entry = JSON.parse(line) as Record<string, number | boolean | string>;
      const to = new Date(entry['time'] as number | string).getTime();
      const counts = Object.entries(entry).filter(
        (pair): pair is [string, number | boolean] =>
          typeof pair[1] === 'boolean' || (typeof pair[1] === 'number' && COUNTS.test(pair[0])),
      );
      return { from: to - Number(entry['duration_ms']), to, counts: Object.fromEntries(counts) };
    });
}

const COUNTS = /^(key|days|deliveries|attempts|events|expired)/;

function rateBetween(arrivals: [at: number, count: number][], from: number, to: number): number {
  const inside = arrivals.filter(([at]) => at >= from && at <= to);
  const [first, last] = [inside[0], inside.at(-1)];
  if (!first || !last || last[0] === first[0]) return NaN;
  return ((last[1] - first[1]) / (last[0] - first[0])) * 1000;
}

/** @param taken pairs of a time and a duration */
export function summary(taken: [number, number][]): Times {
  const times = taken.map(([, took]) => took);
  return { ...percentiles(times), most: times.reduce((most, time) => Math.max(most, time), 0) };
}

const OF_THE_PAST = `
  c.relkind = 'r' and c.relnamespace = current_schema::regnamespace
  and c.relname ~ '^(event|delivery|delivery_attempt|idempotency_key)' and c.relname !~ to_char(now(), '_YYYYMMDD$')`;

async function deadRows({ database }: Stand): Promise<number> {
  const { rows } = await database.query<{ dead: number }>(
    `select coalesce(sum(pg_stat_get_dead_tuples(c.oid)), 0)::float8 as dead from pg_class c where ${OF_THE_PAST}`,
  );
  return rows[0]!.dead;
}

async function sizeOfPast({ database }: Stand): Promise<number> {
  const { rows } = await database.query<{ bytes: number }>(
    `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as bytes from pg_class c where ${OF_THE_PAST}`,
  );
  return rows[0]!.bytes;
}
