import { Problem } from '../../domain/errors.js';
import type { Connection } from '../database.js';
import type { EventFilter } from './delivery-filter.js';
import { type Driver, eventDrivers } from './drivers.js';
import { ALL_IDS, type IdRange, intersection, isEmpty, successor } from './id-range.js';
import { entriesOf } from './step-statement.js';
import { Parameters } from './parameters.js';
import { type Count, type StepResult, takeStep } from './step.js';
import type { Direction, Interval, StepRequest, Wanted } from './step-request.js';

export interface WalkRequest {
  tenantId: string;
  wanted: Wanted;
  /** Those that may serve it, the likely shortest first. */
  drivers: readonly Driver[];
  range: IdRange;
  direction: Direction;
  /** Ids wanted, at most. */
  limit: number;
  /**
   * To count up to so many of those that fit, whether or not they are on the page. For counts alone no step is taken after
   * this time.
   */
  counts?: { by: Interval; most: number; budgetMs: number } | undefined;
  /** From the beginning on, after which no further step is begun. */
  stepsMs: number;
  /** Likewise, when Postgres cancels a step that runs still. */
  budgetMs: number;
}

export interface WalkResult {
  /** Those that fit, in the order of the walk, no more than the limit. */
  ids: string[];
  /**
   * Where it may go on: the first id that has not been looked at when it leads to newer ones, else the one before which
   * that is. Null when all was.
   */
  reached: string | null;
  /** Whether the walk ended for want of time rather than because the page was full. */
  isInterrupted: boolean;
  counts: Count[];
  /** Where a count would have to go on, as `reached`; null when all was counted. */
  uncounted: string | null;
  /** The index that was walked. */
  index: string;
}

/** Entries of a step over all arms: few where the page may well be full with them, then more and more. */
const FIRST_SIZE = 200;
const GREATEST_SIZE = 5_000;
/** A step that took longer is followed by a smaller one, and one that took less than the other by a larger one. */
const LONG_STEP_MS = 50;
const SHORT_STEP_MS = 15;
/** Which index is the shortest is worth so many entries, and where all hold more so many; then it is not asked further. */
const COUNTED_ENTRIES = [2_000, 20_000];

/** Finds the tenant's events that fit. */
export function walkEvents(
  connection: Connection,
  tenantId: string,
  filter: EventFilter,
  request: Omit<WalkRequest, 'tenantId' | 'wanted' | 'drivers'>,
): Promise<WalkResult> {
  const ids = filter.ids?.toSorted();
  const [low, high] = [ids?.[0], ids?.at(-1)];
  const bounds = ids && {
    low: low ?? ALL_IDS.high,
    high: high === undefined ? ALL_IDS.low : successor(high),
  };
  return walk(connection, {
    ...request,
    range: bounds ? intersection(request.range, bounds) : request.range,
    tenantId,
    wanted: { kind: 'event', filter },
    drivers: eventDrivers(tenantId, filter),
  });
}

const LIST_LIMITS = { stepsMs: 800, budgetMs: 1_000 };

/** The walk of a list, from where its page before ended. */
export const olderThan = (cursor: string | null, limit: number) => ({
  range: { ...ALL_IDS, high: cursor ?? ALL_IDS.high },
  direction: 'older' as const,
  limit,
  ...LIST_LIMITS,
});

/**
 * Walks the shortest index that holds all that fits, in steps, until there is enough or the time is used up.
 * @throws Problem query_timeout when not even one step ended in that time
 */
export async function walk(connection: Connection, request: WalkRequest): Promise<WalkResult> {
  const { range, limit, direction, counts: countUpTo, stepsMs, budgetMs } = request;
  const nothing = { ids: [], reached: null, isInterrupted: false, counts: [], uncounted: null, index: '' };
  if (isEmpty(range)) return nothing;
  const startedAt = performance.now();
  const leftMs = () => budgetMs - (performance.now() - startedAt);
  const driver = await shortest(connection, request, leftMs);
  const { index } = driver;
  if (driver.arms.length === 0) return { ...nothing, index };

  const ids: string[] = [];
  const counts: Count[] = [];
  let [unpaged, uncounted, left]: [IdRange | null, IdRange | null, IdRange | null] = [range, range, range];
  let size = Math.max(Math.ceil(FIRST_SIZE / driver.arms.length), limit + 1);
  let hasMoved = false;
  // One id too many tells that there is a next page.
  const isFull = () => ids.length > limit;
  const isCounted = () => !countUpTo || sumOf(counts) >= countUpTo.most;
  while (left && !(isFull() && isCounted())) {
    const budget = isFull() ? Math.min(stepsMs, countUpTo?.budgetMs ?? 0) : stepsMs;
    const stepAt = performance.now();
    if (hasMoved && stepAt - startedAt >= budget) break;
    const countBy = isCounted() ? null : (countUpTo?.by ?? null);
    const one: StepRequest = {
      ...request,
      driver,
      range: left,
      size,
      limit: limit + 1 - ids.length,
      countBy,
    };
    const step: StepResult | undefined = leftMs() > 0 ? await takeStep(connection, one, leftMs()) : undefined;
    if (!step) {
      // Each request has to come further, or one page after another would lead nowhere.
      if (!hasMoved) throw foundNothingInTime();
      break;
    }
    if (!isFull()) unpaged = step.rest;
    ids.push(...step.ids);
    if (countBy !== null) uncounted = step.rest;
    counts.push(...step.counts);
    const isStuck = step.rest?.low === left.low && step.rest.high === left.high;
    hasMoved ||= !isStuck;
    size = isStuck ? size * 8 : nextSize(size, performance.now() - stepAt, driver);
    left = step.rest;
  }
  const edge = (rest: IdRange | null) => (direction === 'older' ? rest?.high : rest?.low) ?? null;
  const last = ids[limit - 1];
  return {
    ids: ids.slice(0, limit),
    reached:
      isFull() && last !== undefined ? (direction === 'older' ? last : successor(last)) : edge(unpaged),
    isInterrupted: !isFull() && left !== null,
    counts,
    uncounted: edge(uncounted),
    index,
  };
}

const foundNothingInTime = (): Problem =>
  new Problem(
    'query_timeout',
    'The database was too busy to look at anything in the time that a search may take. Send it again, or give it a ' +
      'shorter time with from and to.',
    { retryAfterSeconds: 1 },
  );

const sumOf = (counts: readonly Count[]): number =>
  counts.reduce((sum, { what, count }) => sum + (what === 'status' ? count : 0), 0);

function nextSize(size: number, tookMs: number, { arms }: Driver): number {
  if (tookMs > LONG_STEP_MS) return Math.max(Math.floor(size / 4), 50);
  if (tookMs > SHORT_STEP_MS) return size;
  return Math.min(size * 5, Math.max(Math.floor(GREATEST_SIZE / arms.length), size));
}

/** The driver with the fewest entries in the range; the first where all have more than are counted, or time is short. */
async function shortest(connection: Connection, request: WalkRequest, leftMs: () => number): Promise<Driver> {
  const { drivers } = request;
  const [first] = drivers;
  if (first === undefined) throw new Error('Nothing serves the filter.');
  if (drivers.length === 1) return first;
  for (const most of COUNTED_ENTRIES) {
    let [best, least] = [first, most];
    for (const driver of drivers) {
      const limitMs = leftMs() / 4;
      const entries =
        limitMs > 0 ? await countEntries(connection, request, driver, least, limitMs) : undefined;
      if (entries === undefined) return best;
      if (entries < least) [best, least] = [driver, entries];
      if (entries < FIRST_SIZE) break;
    }
    if (least < most) return best;
  }
  return first;
}

/** Up to `most` of them, or a few more where there are several arms; undefined when that takes more than `limitMs`. */
async function countEntries(
  connection: Connection,
  { range, direction }: WalkRequest,
  driver: Driver,
  most: number,
  limitMs: number,
): Promise<number | undefined> {
  if (driver.arms.length === 0) return 0;
  const parameters = new Parameters();
  const size = Math.ceil(most / driver.arms.length);
  const alias = driver.table === 'delivery' ? 'd' : 'e';
  const text = entriesOf({ driver, parameters, size, direction }, `${alias}.id`, range);
  const rows = await connection.runWithin<{ count: number }>(
    limitMs,
    `select count(*)::int as count from (${text}) e /* all tenants: each arm names this one */`,
    parameters.values,
  );
  return rows && (rows[0]?.count ?? 0);
}
