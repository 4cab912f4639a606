import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { codeRows, readDocument, ROOT } from '../support/markdown.js';
import { initialState, stepsOf } from './lane-protocol.js';
import { keyOf, type State } from './lane-state.js';
import { ENDINGS, LOG_IS_COMPLETE, PROMISES } from './promises.js';
import { AS_BUILT, type Rules, type World } from './rules.js';
import { check, type Verdict } from './state-space.js';

/** For a machine that is busy with other things. */
vi.setConfig({ testTimeout: 120_000 });

const CALM: World = {
  deliveries: 1,
  workers: 2,
  window: 1,
  maxConcurrency: null,
  maxAttempts: 1,
  retriesAreNear: true,
  hasRedis: true,
  redisForgets: false,
  apiCrashes: false,
  may: {},
};

/** Any worker may look at any time, whatever Redis does. */
const ANY_LOOK: Partial<World> = { hasRedis: false };
const TWO: Partial<World> = { deliveries: 2, window: 2 };

const promises = Object.entries(PROMISES);

function verdictOf(
  rules: Partial<Rules>,
  world: Partial<World>,
  endings: Record<string, (state: State) => boolean> = ENDINGS,
): Verdict {
  const allRules = { ...AS_BUILT, ...rules };
  const wholeWorld = { ...CALM, ...world };
  // Over two deliveries, one worker may go round and round while the other is kept waiting: that is not fair.
  const areAlike = wholeWorld.deliveries === 1;
  return check({
    initial: initialState(allRules, wholeWorld),
    key: (state) => keyOf(state, areAlike),
    kind: (name) => (areAlike ? name.replace(/worker \d/, 'worker') : name),
    steps: (state) => stepsOf(state, allRules, wholeWorld),
    breach: (before, step) => promises.find(([, holds]) => !holds(step, before, wholeWorld))?.[0],
    unfinished: (state) => Object.entries(endings).find(([, holds]) => !holds(state))?.[0],
  });
}

const WORLDS: Record<string, Partial<World>> = {
  calm: {},
  redis: { workers: 1, redisForgets: true, apiCrashes: true, may: { crashes: 1 } },
  leases: { ...ANY_LOOK, maxAttempts: 2, may: { crashes: 1, freezes: 1 } },
  people: { ...ANY_LOOK, may: { cancels: 1, replays: 1, purges: 1 } },
  late: { ...ANY_LOOK, may: { freezes: 1, silences: 1, cancels: 1, purges: 1 } },
  limit: { ...ANY_LOOK, ...TWO, maxConcurrency: 1 },
};

describe('whatever fails, the promises hold and every delivery ends', () => {
  const documented = new Map(
    codeRows(readDocument('docs/protocol-model.md', 'Worlds')).map((row) => [row[0], row.at(-1)]),
  );

  it.each(Object.entries(WORLDS))('in the world "%s"', (name, world) => {
    const { flaw, states } = verdictOf({}, world);
    expect(flaw).toBeNull();
    expect(documented.get(name)).toBe(states.toLocaleString('en'));
  });
});

describe('where nothing fails, a delivery that is due', () => {
  const noSweep = { sweep: 'never' } as const;

  it.each<[what: string, rules: Partial<Rules>, world: Partial<World>]>([
    ['after its event', {}, TWO],
    ['for its second attempt', {}, { workers: 1, maxAttempts: 2 }],
    ['after a replay', {}, { workers: 1, may: { replays: 1 } }],
    ['in a lane with a limit', { wishDuringClaim: 'kept' }, { ...TWO, workers: 1, maxConcurrency: 1 }],
    [
      'after it was given back',
      { wishDuringClaim: 'kept' },
      { ...TWO, workers: 1, window: 3, may: { silences: 1 } },
    ],
    ['while a worker stops', { stop: 'wakes the lane' }, { may: { stops: 1 } }],
  ])('%s does not wait for the sweep', (_, rules, world) => {
    expect(verdictOf({ ...noSweep, ...rules }, world).flaw).toBeNull();
  });

  it.each<[what: string, rules: Partial<Rules>, world: Partial<World>, trace: string[]]>([
    [
      'more than a minute ahead',
      {},
      { workers: 1, maxAttempts: 2, retriesAreNear: false },
      ['worker 0 is done with 0', 'retry of 0 is due'],
    ],
    [
      'in a lane with a limit, if a look overwrites what a record wished for',
      { wishDuringClaim: 'overwritten' },
      { ...TWO, workers: 1, maxConcurrency: 1 },
      ['worker 0 claims nothing', 'worker 0 records 0', 'worker 0 is done with 0', 'worker 0 ends its look'],
    ],
    [
      'once given back, if a look overwrites the wish for it',
      { wishDuringClaim: 'overwritten' },
      { ...TWO, workers: 1, window: 3, may: { silences: 1 } },
      ['worker 0 is done with 1', 'worker 0 ends its look'],
    ],
    [
      'while a worker stops, if it tells nobody',
      { stop: 'leaves it to the sweep' },
      { may: { stops: 1 } },
      ['worker 0 is told to stop', 'worker 0 finds itself full'],
    ],
  ])('%s needs the sweep', (_, rules, world, trace) => {
    const { flaw } = verdictOf({ ...noSweep, ...rules }, world);
    expect(flaw?.rule).toBe('every delivery ends');
    expect(flaw?.trace).toEqual(expect.arrayContaining(trace));
  });
});

describe('the check finds', () => {
  it.each<[mistake: string, rules: Partial<Rules>, world: Partial<World>, rule: string, last: string]>([
    [
      'an acknowledgement before the commit',
      { acknowledges: 'before the commit' },
      { apiCrashes: true },
      'what was acknowledged is stored',
      'api answers 202 for 0',
    ],
    [
      'a wake-up before the commit, with no sweep to make up for it',
      { wakes: 'before the commit', sweep: 'never' },
      {},
      'every delivery ends',
      'worker 0 ends its look',
    ],
    [
      'a lane that counts as waiting while it is looked at',
      { unmarks: 'after the look', sweep: 'never' },
      { ...TWO, workers: 1 },
      'every delivery ends',
      'worker 0 is done with 0',
    ],
    [
      'a wake-up during a look that is dropped',
      { wakeDuringLook: 'dropped', sweep: 'never' },
      { ...TWO, workers: 1 },
      'every delivery ends',
      'worker 0 is done with 0',
    ],
    [
      'a marker that never expires',
      { marker: 'stays' },
      { workers: 1, redisForgets: true },
      'every delivery ends',
      'job is lost',
    ],
    [
      'a Redis that forgets, with no sweep',
      { sweep: 'never' },
      { workers: 1, redisForgets: true },
      'every delivery ends',
      'wake-up is lost',
    ],
    [
      'a sweep that passes over leases that ran out',
      { sweep: 'what has no lease' },
      { workers: 1, may: { crashes: 1 } },
      'every delivery ends',
      'lease of 0 runs out',
    ],
    [
      'retries that only Redis knows',
      { retries: 'in Redis alone' },
      { workers: 1, maxAttempts: 2 },
      'what has not ended is due',
      'worker 0 records 0',
    ],
    [
      'a claim that asks for no lease',
      { claim: 'whatever is due' },
      ANY_LOOK,
      'a delivery has one claim with a valid lease',
      'worker 1 claims 0',
    ],
    [
      'a claim that a crash of Postgres undoes',
      { claimCommit: 'may be lost with Postgres' },
      { ...ANY_LOOK, may: { databaseCrashes: 1 } },
      'a delivery has one claim with a valid lease',
      'worker 1 claims 0',
    ],
    [
      'a fence that does not move',
      { fence: 'not moved' },
      { ...ANY_LOOK, may: { freezes: 1 } },
      'no two claims share an attempt number',
      'worker 1 claims 0',
    ],
    [
      'a result that nobody asks for its fence',
      { fence: 'not asked for' },
      { ...ANY_LOOK, may: { freezes: 1 } },
      'a result counts only for the latest attempt, and once',
      'worker 0 records 0',
    ],
    [
      'a result that overrides a person',
      { result: 'whatever the status' },
      { ...ANY_LOOK, may: { cancels: 1 } },
      'only a person changes what has ended',
      'worker 0 records 0',
    ],
    [
      'a claim given back by who has lost it',
      { release: 'unfenced' },
      { ...ANY_LOOK, may: { freezes: 1 } },
      'a delivery has one claim with a valid lease',
      'worker 0 claims 0',
    ],
    [
      'a purge that goes by age alone',
      { purge: 'by age alone' },
      { ...ANY_LOOK, may: { purges: 1 } },
      'only what has ended is purged',
      'purge deletes 0',
    ],
  ])('%s', (_, rules, world, rule, last) => {
    const { flaw } = verdictOf(rules, world);
    expect(flaw?.rule).toBe(rule);
    expect(flaw?.trace.at(-1)).toBe(last);
  });
});

describe('the log of attempts', () => {
  const world = { ...ANY_LOOK, workers: 1, maxAttempts: 2 };

  it('is complete after a crash', () => {
    expect(verdictOf({}, { ...world, may: { crashes: 1 } }, LOG_IS_COMPLETE).flaw).toBeNull();
  });

  it.each(['crashes', 'cancels', 'silences'] as const)('misses an attempt after a crash and %s', (what) => {
    const may = what === 'crashes' ? { crashes: 2 } : { crashes: 1, [what]: 1 };
    expect(verdictOf({}, { ...world, may }, LOG_IS_COMPLETE).flaw?.rule).toBe('what was sent is in the log');
  });
});

describe('docs/protocol-model.md', () => {
  it.each(codeRows(readDocument('docs/protocol-model.md', 'Steps')))('knows where "%s" is', (_, where) => {
    const [file, ...names] = [...where.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
    const source = readFileSync(join(ROOT, file!), 'utf8');
    expect(names.filter((name) => !source.includes(name))).toEqual([]);
  });
});
