import { setTimeout as sleep } from 'node:timers/promises';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait-for.js';
import type { Allowance } from './account.js';
import type { LieKind } from './lies.js';
import {
  holdLocks,
  killBackend,
  takeEveryConnection,
  terminateAll,
  untilPostgresAnswers,
} from './postgres-faults.js';
import { LEASE_MS, RoleName, Stand } from './stand.js';

export interface Fault extends Allowance {
  /** What happens, as a line of the table in docs/reliability.md. */
  name: string;
  group: 'processes' | 'PostgreSQL' | 'Redis' | 'network' | 'clocks' | 'subscriber';
  /** Also in the short form. */
  short: boolean;
  /** Of the events that come in while it lasts, the share that must at least arrive while it lasts. */
  flowsOn: number;
  /** Breaks something, and puts right what a supervisor or an operator of the network would. */
  inject(scene: Scene): Promise<void>;
}

export interface Scene {
  stand: Stand;
  /** Beginning of the paths of this round's subscriptions. */
  prefix: string;
  /** A whole number, drawn from the seed. */
  between: (low: number, high: number) => number;
}

const HOUR_MS = 3_600_000;
const NOTHING_LOST = { forgets: false, unheard: false, flowsOn: 0, short: false };
/** The other worker goes on, but a lane may wait for the sweep. */
const SOME = 0.01;
const MOST = 0.5;
const FORGETS = { ...NOTHING_LOST, forgets: true };

const PROCESSES: Fault[] = [
  {
    ...NOTHING_LOST,
    group: 'processes',
    name: 'nothing at all',
    flowsOn: MOST,
    inject: ({ between }) => sleep(between(1_000, 2_000)),
  },
  killOf('a worker', ['workerA'], { ...FORGETS, short: true }),
  killOf('both workers', ['workerA', 'workerB'], FORGETS),
  killOf('the api', ['api'], { ...NOTHING_LOST, short: true }),
  killOf('the scheduler', ['scheduler'], { ...NOTHING_LOST, flowsOn: MOST }),
  killOf('every process', ['api', 'workerA', 'workerB', 'scheduler'], FORGETS),
  {
    ...FORGETS,
    group: 'processes',
    name: 'the machine of a worker loses its power in the middle of transactions: no connection is closed',
    inject: async ({ stand, between }) => {
      const { process, toPostgres, toRedis } = stand.members.workerA;
      // So slow that some transaction is open at any time.
      toPostgres.delay(100);
      await sleep(between(1_500, 2_000));
      toPostgres.abandon(false);
      toRedis.abandon(false);
      await process.kill();
      toPostgres.mend();
      await sleep(between(500, 1_500));
      await process.start();
    },
  },
  freezeOf('a worker', 'workerA', { ...FORGETS, short: true }),
  freezeOf('the scheduler', 'scheduler', { ...NOTHING_LOST, flowsOn: MOST }),
  freezeOf('the api', 'api', NOTHING_LOST),
];

const POSTGRES: Fault[] = [
  {
    ...FORGETS,
    group: 'PostgreSQL',
    name: 'kill -9 of PostgreSQL',
    short: true,
    inject: async ({ stand }) => {
      const { pid } = stand.postgres;
      stand.killPostgres();
      await waitFor(() => stand.postgres.pid !== pid, { what: 'a new postmaster' });
      await untilPostgresAnswers(stand);
    },
  },
  {
    ...FORGETS,
    group: 'PostgreSQL',
    name: 'kill -9 of one of its backends',
    inject: async ({ stand, between }) => {
      await killBackend(stand, (count) => between(0, count - 1));
      await untilPostgresAnswers(stand);
    },
  },
  {
    ...FORGETS,
    group: 'PostgreSQL',
    name: 'pg_terminate_backend of all, for 2 s',
    inject: ({ stand }) => terminateAll(stand, 2_000),
  },
  {
    ...FORGETS,
    group: 'PostgreSQL',
    name: 'somebody else takes every connection',
    inject: ({ stand, between }) => takeEveryConnection(stand, between(1_000, 3_000)),
  },
  {
    ...FORGETS,
    group: 'PostgreSQL',
    name: 'somebody else locks the table: pools run dry',
    inject: ({ stand, between }) => holdLocks(stand, between(1_000, 3_000)),
  },
  {
    ...FORGETS,
    group: 'PostgreSQL',
    name: 'somebody else locks the table for longer than a lease',
    inject: ({ stand, between }) => holdLocks(stand, LEASE_MS + between(1_000, 2_000)),
  },
];

const REDIS: Fault[] = [
  redisRestart('with its data', true, NOTHING_LOST),
  redisRestart('without its data', false, { ...NOTHING_LOST, short: true }),
  {
    ...NOTHING_LOST,
    group: 'Redis',
    name: 'FLUSHALL, five times',
    short: true,
    inject: async ({ stand, between }) => {
      for (let times = 0; times < 5; times++) {
        await stand.flushRedis();
        await sleep(between(0, 400));
      }
    },
  },
];

/** One of the lines between the parts, and what a fault of it may cost. */
interface Line {
  name: string;
  proxies: (stand: Stand) => TcpProxy[];
  allowance: Omit<Fault, 'name' | 'group' | 'inject'>;
}

const LINES: Line[] = [
  lineOf('api → PostgreSQL', 'api', 'toPostgres', NOTHING_LOST),
  lineOf('a worker → PostgreSQL', 'workerA', 'toPostgres', { ...FORGETS, flowsOn: SOME }),
  lineOf('scheduler → PostgreSQL', 'scheduler', 'toPostgres', { ...NOTHING_LOST, flowsOn: MOST }),
  lineOf('api → Redis', 'api', 'toRedis', NOTHING_LOST),
  lineOf('a worker → Redis', 'workerA', 'toRedis', NOTHING_LOST),
  lineOf('scheduler → Redis', 'scheduler', 'toRedis', { ...NOTHING_LOST, flowsOn: MOST }),
];
const TO_SUBSCRIBER: Line = {
  name: 'workers → subscriber',
  proxies: ({ toSubscriber }) => [toSubscriber],
  allowance: { ...NOTHING_LOST, unheard: true },
};

const NETWORK: Fault[] = [
  ...[...LINES, TO_SUBSCRIBER].flatMap((line) => [
    onLine(line, 'cut', async (proxies, { between }) => {
      for (const proxy of proxies) await proxy.cut();
      await sleep(between(500, 2_500));
    }),
    onLine(line, '50 to 250 ms of delay each way', async (proxies, { between }) => {
      for (const proxy of proxies) proxy.delay(between(50, 250));
      await sleep(2_500);
    }),
    onLine(line, 'open, but nothing passes', async (proxies, { between }) => {
      for (const proxy of proxies) proxy.freeze();
      await sleep(between(1_000, 4_000));
    }),
  ]),
  onLine(
    { name: 'everybody → PostgreSQL', proxies: every('toPostgres'), allowance: { ...FORGETS } },
    'half-open for good: only new connections work',
    abandonAll,
  ),
  onLine(
    { name: 'everybody → Redis', proxies: every('toRedis'), allowance: NOTHING_LOST },
    'half-open for good: only new connections work',
    abandonAll,
  ),
  onLine(TO_SUBSCRIBER, 'half-open for good: only new connections work', abandonAll),
];

const CLOCKS: Fault[] = [
  clockOf('a worker 2 hours ahead', 'workerA', 2 * HOUR_MS, NOTHING_LOST),
  clockOf('a worker 2 hours behind', 'workerA', -2 * HOUR_MS, NOTHING_LOST),
  clockOf('the api 26 hours ahead: ids of tomorrow', 'api', 26 * HOUR_MS, NOTHING_LOST),
  clockOf('the api 26 hours behind: ids of yesterday', 'api', -26 * HOUR_MS, NOTHING_LOST),
  clockOf('the scheduler 5 hours ahead', 'scheduler', 5 * HOUR_MS, NOTHING_LOST),
  {
    ...NOTHING_LOST,
    group: 'clocks',
    name: 'every clock jumps to and fro by up to 12 hours',
    flowsOn: MOST,
    inject: async ({ stand, between }) => {
      for (let jumps = 0; jumps < 8; jumps++) {
        for (const process of stand.processes) await process.shiftClock(between(-12, 12) * HOUR_MS);
        await sleep(between(100, 400));
      }
      for (const process of stand.processes) await process.shiftClock(0);
    },
  },
];

const SUBSCRIBER: Fault[] = [
  lieOf('breaks off: resets, closes, half answers, no HTTP', 'broken off', { ...NOTHING_LOST, short: true }),
  lieOf('comes to no end: silence, a body by the byte', 'without end', NOTHING_LOST),
  lieOf('says yes strangely: garbage, 204 with a body, endless bodies, before reading', 'strange yes', {
    ...NOTHING_LOST,
    // One of them says yes and resets in one breath.
    unheard: true,
  }),
];

export const FAULTS: readonly Fault[] = [
  ...PROCESSES,
  ...POSTGRES,
  ...REDIS,
  ...NETWORK,
  ...CLOCKS,
  ...SUBSCRIBER,
];

type Rest = Omit<Fault, 'name' | 'group' | 'inject'>;

/** The supervisor starts what was killed again, after a second at the most. */
function killOf(what: string, roles: RoleName[], rest: Rest): Fault {
  return {
    ...rest,
    group: 'processes',
    name: `kill -9 of ${what}`,
    inject: async ({ stand, between }) => {
      const killed = roles.map((role) => stand.members[role].process);
      await Promise.all(killed.map((process) => process.kill()));
      await sleep(between(0, 1_000));
      await Promise.all(killed.map((process) => process.start()));
    },
  };
}

function freezeOf(what: string, role: RoleName, rest: Rest): Fault {
  return {
    ...rest,
    group: 'processes',
    name: `SIGSTOP of ${what} past every lease, then SIGCONT`,
    inject: async ({ stand, between }) => {
      const { process } = stand.members[role];
      process.freeze();
      await sleep(LEASE_MS + between(1_000, 2_000));
      process.resume();
      // What it had in hand has come to its end when it answers again.
      await waitFor(() => process.isReady(), { what: `${what} to wake up` });
    },
  };
}

function redisRestart(how: string, withData: boolean, rest: Rest): Fault {
  return {
    ...rest,
    group: 'Redis',
    name: `kill -9 and restart ${how}`,
    inject: async ({ stand, between }) => {
      await stand.killRedis();
      await sleep(between(0, 2_000));
      await stand.startRedis(withData);
    },
  };
}

function lineOf(name: string, role: RoleName, line: 'toPostgres' | 'toRedis', allowance: Rest): Line {
  return { name, allowance, proxies: ({ members }) => [members[role][line]] };
}

function every(line: 'toPostgres' | 'toRedis'): Line['proxies'] {
  return ({ members }) => Object.values(members).map((member) => member[line]);
}

function onLine(
  { name, proxies, allowance }: Line,
  what: string,
  breakIt: (proxies: TcpProxy[], scene: Scene) => Promise<void>,
): Fault {
  return {
    ...allowance,
    group: 'network',
    name: `${name}: ${what}`,
    inject: async (scene) => {
      const broken = proxies(scene.stand);
      try {
        await breakIt(broken, scene);
      } finally {
        for (const proxy of broken) proxy.mend();
      }
    },
  };
}

function abandonAll(proxies: TcpProxy[]): Promise<void> {
  for (const proxy of proxies) proxy.abandon(true);
  return Promise.resolve();
}

/** Puts the clock wrong in mid-run, and right again. */
function clockOf(name: string, role: RoleName, offsetMs: number, rest: Rest): Fault {
  return {
    ...rest,
    group: 'clocks',
    name,
    flowsOn: MOST,
    inject: async ({ stand, between }) => {
      const { process } = stand.members[role];
      await process.shiftClock(offsetMs);
      await sleep(between(1_500, 2_500));
      await process.shiftClock(0);
    },
  };
}

/** Two of the targets lie; the others must not suffer from it. */
function lieOf(what: string, kind: LieKind, rest: Rest): Fault {
  return {
    ...rest,
    group: 'subscriber',
    name: what,
    inject: async ({ stand, prefix, between }) => {
      stand.subscriber.lie(`${prefix}orders`, kind);
      await sleep(between(1_500, 2_500));
      stand.subscriber.lie(`${prefix}orders`, null);
    },
  };
}
