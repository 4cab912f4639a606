import { SchedulerRegistry } from '@nestjs/schedule';
import { pino } from 'pino';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Metrics } from '../../src/observability/metrics.js';
import { Readiness } from '../../src/observability/readiness.js';
import { dataSourceOptions } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import { MaintenanceRunRepository } from '../../src/persistence/repositories/maintenance-run.repository.js';
import type { PeriodicTask } from '../../src/schedule/periodic-task.js';
import { PeriodicTasks } from '../../src/schedule/periodic-tasks.js';
import { createDatabase } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

const HOUR_MS = 3_600_000;

let database: Awaited<ReturnType<typeof createDatabase>>;
let source: DataSource;

beforeAll(async () => {
  database = await createDatabase();
  source = await new DataSource(dataSourceOptions(database.url, 6)).initialize();
});
afterAll(async () => {
  await source.destroy();
  await database.drop();
});

/** The periodic tasks of one process: all that are made here share a database, as processes do. */
function aProcess(...tasks: PeriodicTask[]) {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line) => void lines.push(JSON.parse(line)) });
  const ended: string[] = [];
  const metrics = { taskRan: (task: string, result: string) => ended.push(`${task} ${result}`) };
  const connections = new Database(source);
  const readiness = new Readiness(logger);
  const periodic = new PeriodicTasks(
    connections,
    new MaintenanceRunRepository(connections),
    new SchedulerRegistry(),
    readiness,
    metrics as unknown as Metrics,
    logger,
  );
  for (const task of tasks) periodic.add(task);
  return { periodic, readiness, lines, ended };
}

/** A run that lasts until it is let end; `most` is the most runs that were ever under way together. */
function openTask(task: Partial<PeriodicTask> & { name: string }) {
  let [underWay, most, runs] = [0, 0, 0];
  const end: (() => void)[] = [];
  return {
    everyMs: 1,
    ...task,
    async run(stopping: AbortSignal) {
      runs++;
      most = Math.max(most, ++underWay);
      await new Promise<void>((resolve) => {
        end.push(resolve);
        stopping.addEventListener('abort', () => resolve());
      });
      underWay--;
    },
    endRuns: () => end.splice(0).forEach((resolve) => resolve()),
    get most() {
      return most;
    },
    get runs() {
      return runs;
    },
    get underWay() {
      return underWay;
    },
  };
}

it('runs a task again and again, one run at a time over all processes', async () => {
  const task = openTask({ name: 'overlap' });
  const processes = [aProcess(task), aProcess(task), aProcess(task)];
  for (const { periodic } of processes) periodic.onApplicationBootstrap();

  for (let round = 1; round <= 3; round++) {
    await waitFor(() => task.runs === round, { what: `run ${round}` });
    const others = await Promise.all(processes.map(({ periodic }) => periodic.runNow('overlap')));
    expect(others).toEqual([false, false, false]);
    task.endRuns();
  }

  expect(task.most).toBe(1);
  await Promise.all(processes.map(({ periodic }) => periodic.beforeApplicationShutdown()));
});

it('starts a task once in its time, in whichever process', async () => {
  let runs = 0;
  const task = {
    name: 'hourly',
    everyMs: HOUR_MS,
    onceEveryMs: HOUR_MS,
    run: () => {
      runs++;
      return Promise.resolve();
    },
  };
  const [first, second] = [aProcess(task), aProcess(task)];
  const age = (ms: number) =>
    source.query(
      `update maintenance_run set started_at = now() - make_interval(secs => $1) where task = 'hourly'`,
      [ms / 1000],
    );

  const ran = [await first.periodic.runNow('hourly'), await second.periodic.runNow('hourly')];
  await age(HOUR_MS - 60_000);
  ran.push(await second.periodic.runNow('hourly'));
  await age(HOUR_MS);
  ran.push(await second.periodic.runNow('hourly'), await first.periodic.runNow('hourly'));

  expect(ran).toEqual([true, false, false, true, false]);
  expect(runs).toBe(2);
});

it('tells a run that the process stops, and waits for its end', async () => {
  const task = openTask({ name: 'long' });
  const { periodic, ended } = aProcess(task);
  periodic.onApplicationBootstrap();
  await waitFor(() => task.underWay === 1, { what: 'a run' });

  await periodic.beforeApplicationShutdown();

  expect(task.underWay).toBe(0);
  expect(ended).toEqual(['long succeeded']);
});

it('says what a run failed with, counts it, and runs again', async () => {
  let runs = 0;
  const task = {
    name: 'failing',
    everyMs: 1,
    run: () => (++runs === 1 ? Promise.reject(new Error('no disk left')) : Promise.resolve()),
  };
  const { periodic, lines, ended } = aProcess(task);
  periodic.onApplicationBootstrap();
  await waitFor(() => ended.length >= 2, { what: 'two runs' });
  await periodic.beforeApplicationShutdown();

  expect(ended.slice(0, 2)).toEqual(['failing failed', 'failing succeeded']);
  expect(lines.filter(({ msg }) => msg === 'task.failed')).toMatchObject([
    { task: 'failing', err: { message: 'no disk left' } },
  ]);
});

it('is not ready before a first run that it needs has succeeded', async () => {
  const task = openTask({ name: 'first', everyMs: HOUR_MS, isNeededToBeReady: true });
  const { periodic, readiness } = aProcess(task);
  periodic.onApplicationBootstrap();
  await waitFor(() => task.underWay === 1, { what: 'the first run' });
  expect(readiness.reasons).toEqual(['first first']);
  task.endRuns();
  await waitFor(() => readiness.reasons.length === 0, { what: 'readiness' });
  await periodic.beforeApplicationShutdown();
});

it('refuses two tasks of one name', () => {
  const task = openTask({ name: 'twice' });
  expect(() => aProcess(task, task)).toThrow('There are two periodic tasks named "twice"');
});
