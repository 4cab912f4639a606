import type { DeliveryStatus } from '../../src/domain/delivery-status.js';

/** A row of `delivery`, the request that made it, and what an observer saw of it. */
export interface Delivery {
  /** The request to ingest its event: being worked on; committed and not answered yet; over, answered or not. */
  request: 'open' | 'committed' | 'over';
  /** The sender got its 202. */
  isAcknowledged: boolean;
  /** `none` before the commit and after the purge. */
  status: DeliveryStatus | 'none';
  isPurged: boolean;
  /** `next_attempt_at`: null, in the future, in the past. */
  due: 'never' | 'later' | 'now';
  /** `leased_until`: null, in the future, in the past. */
  lease: 'none' | 'valid' | 'over';
  /** `attempt_count`. */
  attempts: number;
  /** `budget_start`. */
  budgetStart: number;
  /** By attempt number. For the observer alone, but for what `delivery_attempt` holds. */
  history: readonly Attempt[];
}

export interface Attempt {
  /** Requests that left with this number. */
  sent: number;
  /** The target said yes. */
  isAccepted: boolean;
  /** Results with this number that changed the status. */
  counted: number;
  /** The row in `delivery_attempt`. */
  row: 'none' | 'interrupted' | 'answered';
}

/** A delivery in a worker's hands. */
export interface Claim {
  delivery: number;
  attempt: number;
  /**
   * `granted`: Postgres has made the claim, the worker does not know yet. `cleared`: the worker has made sure that the
   * request will end within the lease. `open`: the request is on its way. `settled`: the result, or that it was given
   * back unsent, is committed.
   */
  step: 'granted' | 'held' | 'cleared' | 'open' | 'accepted' | 'refused' | 'settled';
  /** Its lease ran out before it was settled. */
  isLate: boolean;
  /** The attempt before it was never recorded. */
  afterInterruption: boolean;
  /** Once settled: it is due again later, and this worker is to wake the lane then; or it was given back unsent. */
  outcome: 'none' | 'retry' | 'given back';
}

/** What one worker process knows of the lane. */
export interface Worker {
  /** A job was taken from the queue, and the lane still counts as waiting. */
  hasJob: boolean;
  /** The look at the lane: none; before the claim statement; after it, before its answer is dealt with. */
  look: 'none' | 'begun' | 'answered';
  /** Deliveries that the look asked for, and those that it got. */
  quota: number;
  got: number;
  lookAgain: boolean;
  hasMore: boolean;
  isStopping: boolean;
  claims: readonly Claim[];
}

/** How often something may still happen. */
export interface Allowance {
  crashes: number;
  freezes: number;
  databaseCrashes: number;
  stops: number;
  silences: number;
  cancels: number;
  replays: number;
  purges: number;
}

export interface State {
  deliveries: readonly Delivery[];
  workers: readonly Worker[];
  /** In Redis: the lane counts as waiting. */
  marker: boolean;
  /** In Redis: jobs that name the lane. */
  jobs: number;
  /** In Redis, by delivery: a delayed job for the time when it is due. */
  delayed: readonly boolean[];
  /** Wake-ups that some process is about to make: not marked yet; marked, with the job not added yet. */
  wakes: number;
  adding: number;
  left: Allowance;
}

export const NEW_DELIVERY: Delivery = {
  request: 'open',
  isAcknowledged: false,
  status: 'none',
  isPurged: false,
  due: 'never',
  lease: 'none',
  attempts: 0,
  budgetStart: 0,
  history: [],
};

export const NEW_WORKER: Worker = {
  hasJob: false,
  look: 'none',
  quota: 0,
  got: 0,
  lookAgain: false,
  hasMore: false,
  isStopping: false,
  claims: [],
};

export const NOT_SENT: Attempt = { sent: 0, isAccepted: false, counted: 0, row: 'none' };

export const isOpen = ({ status }: Delivery): boolean =>
  status === 'pending' || status === 'delivering' || status === 'retrying';

export const isTerminal = ({ status }: Delivery): boolean =>
  status === 'delivered' || status === 'dead' || status === 'cancelled';

export const withDelivery = (state: State, index: number, change: Partial<Delivery>): State => ({
  ...state,
  deliveries: replaced(state.deliveries, index, change),
});

export const withWorker = (state: State, index: number, change: Partial<Worker>): State => ({
  ...state,
  workers: replaced(state.workers, index, change),
});

export const withClaim = (worker: Worker, index: number, change: Partial<Claim>): Worker => ({
  ...worker,
  claims: replaced(worker.claims, index, change),
});

/** @param areAlike whether it does not matter which worker is which */
export function keyOf(state: State, areAlike: boolean): string {
  const workers = state.workers.map(numberOf);
  if (areAlike) workers.sort((one, other) => one - other);
  const { deliveries, marker, jobs, delayed, wakes, adding, left } = state;
  const others = [numberOf(deliveries), numberOf(delayed), numberOf(left)];
  return `${workers.join()} ${others.join()} ${Number(marker)}${jobs}${wakes},${adding}`;
}

/** Most states share most of their parts, which never change. */
const numbers = new WeakMap<object, number>();
const numbersByContent = new Map<string, number>();

/** A number for a part of a state, the same for all that are equal. */
function numberOf(part: object): number {
  let number = numbers.get(part);
  if (number !== undefined) return number;
  let content = Array.isArray(part) ? '[' : '';
  for (const value of Object.values(part) as unknown[]) {
    content += `${typeof value === 'object' && value !== null ? numberOf(value) : String(value)},`;
  }
  number = numbersByContent.get(content) ?? numbersByContent.size;
  numbersByContent.set(content, number);
  numbers.set(part, number);
  return number;
}

const replaced = <Item>(list: readonly Item[], index: number, change: Partial<Item>): readonly Item[] =>
  list.map((item, at) => (at === index ? { ...item, ...change } : item));
