import { type Claim, type Delivery, isOpen, isTerminal, NOT_SENT, type State } from './lane-state.js';
import type { Rules, World } from './rules.js';

/** What each SQL statement of the protocol does to a row of `delivery`. One call is one commit. */

/** CLAIM_DUE: which deliveries it may take, each way it may choose among them. */
export function claimable(state: State, quota: number, rules: Rules, { maxConcurrency }: World): number[][] {
  const leased = state.deliveries.filter(({ lease }) => lease === 'valid').length;
  const allowed = Math.min(quota, (maxConcurrency ?? Infinity) - leased);
  const due = state.deliveries.flatMap((row, index) =>
    row.due === 'now' && (row.lease !== 'valid' || rules.claim === 'whatever is due') ? [index] : [],
  );
  if (allowed <= 0 || due.length === 0) return [[]];
  return due.length <= allowed ? [due] : due.map((index) => [index]);
}

/** TAKE_DUE. */
export function claimed(row: Delivery, rules: Rules): Delivery {
  const attempts = rules.fence === 'not moved' ? Math.max(row.attempts, 1) : row.attempts + 1;
  const history = Array.from({ length: Math.max(row.history.length, attempts + 1) }, (_, number) => {
    return row.history[number] ?? NOT_SENT;
  });
  return { ...row, status: 'delivering', attempts, lease: 'valid', history };
}

/** RECORD_RESULTS. @returns also whether the result counted */
export function recorded(row: Delivery, claim: Claim, rules: Rules, world: World): [Delivery, boolean] {
  const isAccepted = claim.step === 'accepted';
  const counts =
    (row.status === 'delivering' || (rules.result === 'whatever the status' && row.status !== 'none')) &&
    (row.attempts === claim.attempt || rules.fence === 'not asked for');
  const kept = withAttempt(row, claim.attempt, ({ counted }) => ({
    counted: counted + Number(counts),
    row: 'answered',
  }));
  const complete = claim.afterInterruption
    ? withAttempt(kept, claim.attempt - 1, (attempt) => ({
        row: attempt.row === 'none' ? 'interrupted' : attempt.row,
      }))
    : kept;
  if (!counts) return [complete, false];
  const mayRetry = claim.attempt - row.budgetStart < world.maxAttempts;
  const status = isAccepted ? 'delivered' : mayRetry ? 'retrying' : 'dead';
  const due = status !== 'retrying' || rules.retries === 'in Redis alone' ? 'never' : 'later';
  return [{ ...complete, status, due, lease: 'none' }, true];
}

/** LaneRepository.release. */
export function released(row: Delivery, { attempt }: Claim, rules: Rules): Delivery {
  const isFenced = row.status === 'delivering' && row.attempts === attempt;
  if (!isFenced && rules.release === 'fenced') return row;
  return unclaimed(row);
}

/** As if the last claim had never been made. */
export function unclaimed(row: Delivery): Delivery {
  const attempts = row.attempts - 1;
  return { ...row, status: attempts > row.budgetStart ? 'retrying' : 'pending', attempts, lease: 'none' };
}

/** LaneRepository.dueLanes, of the one lane. */
export const isListedBySweep = ({ due, lease }: Delivery, rules: Rules): boolean =>
  due === 'now' && (lease === 'none' || (lease === 'over' && rules.sweep === 'leases that ran out as well'));

/** CANCELLED: cancel by DeliveryRepository, discard by DeadLetterRepository. */
export const cancelled = (row: Delivery): Delivery | undefined =>
  isOpen(row) || row.status === 'dead'
    ? { ...row, status: 'cancelled', due: 'never', lease: 'none' }
    : undefined;

/** REOPENED. */
export function reopened(row: Delivery): Delivery | undefined {
  if (isTerminal(row)) {
    return { ...row, status: 'pending', budgetStart: row.attempts, due: 'now', lease: 'none' };
  }
  return isOpen(row) && row.status !== 'delivering' ? { ...row, due: 'now', lease: 'none' } : undefined;
}

/** PurgeRepository and PartitionRepository: what has had its time, which is any time here. */
export const mayBePurged = (row: Delivery, rules: Rules): boolean =>
  isTerminal(row) || (rules.purge === 'by age alone' && isOpen(row));

export function withAttempt(
  row: Delivery,
  number: number,
  change: (attempt: Delivery['history'][number]) => Partial<Delivery['history'][number]>,
): Delivery {
  return {
    ...row,
    history: row.history.map((attempt, index) =>
      index === number ? { ...attempt, ...change(attempt) } : attempt,
    ),
  };
}

/** Somebody alive holds the claim that the lease stands for. */
export const isHeld = (state: State, delivery: number): boolean =>
  state.workers.some(({ claims }) =>
    claims.some(
      (claim) =>
        claim.delivery === delivery &&
        claim.attempt === state.deliveries[delivery]!.attempts &&
        claim.step !== 'settled' &&
        !claim.isLate,
    ),
  );
