import type { Allowance, State } from './lane-state.js';
import type { Step } from './state-space.js';

/** How the protocol is built, or might be by mistake. */
export interface Rules {
  acknowledges: 'after the commit' | 'before the commit';
  wakes: 'after the commit' | 'before the commit';
  unmarks: 'before the look' | 'after the look';
  marker: 'expires' | 'stays';
  wakeDuringLook: 'kept' | 'dropped';
  /** Whether a look that ends leaves alone what others wished for while its claim was under way. */
  wishDuringClaim: 'kept' | 'overwritten';
  claim: 'what nobody has a lease on' | 'whatever is due';
  claimCommit: 'is on disk' | 'may be lost with Postgres';
  fence: 'moved by each claim' | 'not moved' | 'not asked for';
  result: 'only while delivering' | 'whatever the status';
  release: 'fenced' | 'unfenced';
  retries: 'in the row' | 'in Redis alone';
  sweep: 'leases that ran out as well' | 'what has no lease' | 'never';
  /** What a worker that stops does about what it leaves behind. */
  stop: 'wakes the lane' | 'leaves it to the sweep';
  purge: 'what has ended' | 'by age alone';
}

/** As src/ has it. Where the second value stands, docs/protocol-model.md says what follows from that. */
export const AS_BUILT: Rules = {
  acknowledges: 'after the commit',
  wakes: 'after the commit',
  unmarks: 'before the look',
  marker: 'expires',
  wakeDuringLook: 'kept',
  wishDuringClaim: 'kept',
  claim: 'what nobody has a lease on',
  claimCommit: 'is on disk',
  fence: 'moved by each claim',
  result: 'only while delivering',
  release: 'fenced',
  retries: 'in the row',
  sweep: 'leases that ran out as well',
  stop: 'leaves it to the sweep',
  purge: 'what has ended',
};

/** What there is, and what may happen to it. */
export interface World {
  deliveries: number;
  workers: number;
  /** Requests that a worker may have open. */
  window: number;
  maxConcurrency: number | null;
  maxAttempts: number;
  /** Whether retries are near enough to be kept as delayed jobs. */
  retriesAreNear: boolean;
  /** At any time and any number of times: Redis loses its data, or a wake-up does not get through. */
  redisForgets: boolean;
  /** The api process may die; without that, commit and answer are one step. */
  apiCrashes: boolean;
  /** Without it, any worker may look at any time, which covers whatever Redis might do. */
  hasRedis: boolean;
  may: Partial<Allowance>;
}

/** What an observer sees. */
export type Event =
  | { kind: 'sent' | 'result'; delivery: number; attempt: number }
  | { kind: 'purged' | 'person'; delivery: number };

export type LaneStep = Step<State, Event>;

export const woken = (state: State, { hasRedis }: World): State =>
  hasRedis ? { ...state, wakes: state.wakes + 1 } : state;

export const sure = (name: string, next: State): LaneStep => ({ name, isSure: true, next });

export const fault = (name: string, next: State): LaneStep => ({ name, isSure: false, next });

/** Something that happens only so often. */
export const spent = (name: string, what: keyof Allowance, next: State): LaneStep => ({
  name,
  isSure: false,
  next: { ...next, left: { ...next.left, [what]: next.left[what] - 1 } },
});
