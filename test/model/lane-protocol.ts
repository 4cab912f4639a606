import {
  type Allowance,
  NEW_DELIVERY,
  NEW_WORKER,
  type State,
  withDelivery,
  withWorker,
} from './lane-state.js';
import { cancelled, isHeld, isListedBySweep, mayBePurged, reopened, unclaimed } from './rows.js';
import { type Event, fault, type LaneStep, type Rules, spent, sure, woken, type World } from './rules.js';
import { claimSteps, laneSteps } from './worker-steps.js';

/** Jobs for the lane that wait, and sweeps under way: a second one would repeat what the first does. */
const MOST_JOBS = 1;

const NOTHING: Allowance = {
  crashes: 0,
  freezes: 0,
  databaseCrashes: 0,
  stops: 0,
  silences: 0,
  cancels: 0,
  replays: 0,
  purges: 0,
};

export function initialState(rules: Rules, world: World): State {
  return {
    deliveries: Array.from({ length: world.deliveries }, () => NEW_DELIVERY),
    workers: Array.from({ length: world.workers }, () => NEW_WORKER),
    marker: false,
    jobs: 0,
    delayed: Array.from({ length: world.deliveries }, () => false),
    wakes: world.hasRedis && rules.wakes === 'before the commit' ? world.deliveries : 0,
    adding: 0,
    left: { ...NOTHING, ...world.may },
  };
}

export function stepsOf(state: State, rules: Rules, world: World): LaneStep[] {
  return [
    ...state.deliveries.flatMap((_, index) => [
      ...ingestSteps(state, index, rules, world),
      ...timeSteps(state, index, rules),
      ...peopleSteps(state, index, rules, world),
    ]),
    ...(world.hasRedis ? wakeSteps(state, rules, world) : anyLookSteps(state, rules)),
    ...state.workers.flatMap((_, index) => [
      ...laneSteps(state, index, rules, world),
      ...state.workers[index]!.claims.flatMap((_claim, at) => claimSteps(state, index, at, rules, world)),
    ]),
  ];
}

function ingestSteps(state: State, index: number, rules: Rules, world: World): LaneStep[] {
  const { request, isAcknowledged } = state.deliveries[index]!;
  const steps: LaneStep[] = [];
  if (request === 'over') return steps;
  if (!world.apiCrashes) {
    const stored = { request: 'over', isAcknowledged: true, status: 'pending', due: 'now' } as const;
    const next = withDelivery(state, index, stored);
    const isWoken = rules.wakes === 'after the commit';
    return [{ name: `api commits ${index}`, isSure: false, next: isWoken ? woken(next, world) : next }];
  }
  const acknowledgesFirst = rules.acknowledges === 'before the commit';
  const acknowledgement = { isAcknowledged: true, ...(!acknowledgesFirst && { request: 'over' as const }) };
  if (!isAcknowledged && (request === 'open') === acknowledgesFirst) {
    steps.push(sure(`api answers 202 for ${index}`, withDelivery(state, index, acknowledgement)));
  }
  if (request === 'open' && isAcknowledged === acknowledgesFirst) {
    const stored = withDelivery(state, index, {
      request: acknowledgesFirst ? 'over' : 'committed',
      status: 'pending',
      due: 'now',
    });
    // Not sure: a sender need not send.
    steps.push({
      name: `api commits ${index}`,
      isSure: false,
      next: rules.wakes === 'after the commit' ? woken(stored, world) : stored,
    });
  }
  steps.push(fault(`api dies with ${index}`, withDelivery(state, index, { request: 'over' })));
  return steps;
}

function timeSteps(state: State, index: number, rules: Rules): LaneStep[] {
  const row = state.deliveries[index]!;
  const { due, lease, status } = row;
  const steps: LaneStep[] = [];
  if (due === 'later')
    steps.push(sure(`retry of ${index} is due`, withDelivery(state, index, { due: 'now' })));
  if (state.delayed[index] && due !== 'later') {
    steps.push(sure(`delayed job of ${index} is due`, withJob({ ...state, delayed: without(state, index) })));
  }
  if (lease === 'valid' && status === 'delivering') {
    const over = withDelivery(state, index, { lease: 'over' });
    if (!isHeld(state, index)) steps.push(sure(`lease of ${index} runs out`, over));
    else if (state.left.freezes > 0) {
      const late = over.workers.map((worker) => ({
        ...worker,
        claims: worker.claims.map((claim) =>
          claim.delivery === index && claim.step !== 'settled' ? { ...claim, isLate: true } : claim,
        ),
      }));
      steps.push(spent(`holder of ${index} freezes past its lease`, 'freezes', { ...over, workers: late }));
    }
    if (rules.claimCommit === 'may be lost with Postgres' && state.left.databaseCrashes > 0) {
      const undone = withDelivery(state, index, unclaimed(row));
      steps.push(spent(`Postgres crashes and forgets the claim of ${index}`, 'databaseCrashes', undone));
    }
  }
  return steps;
}

/** The people who may do something about a delivery, and the purge. */
function peopleSteps(state: State, index: number, rules: Rules, world: World): LaneStep[] {
  const row = state.deliveries[index]!;
  const { cancels, replays, purges } = state.left;
  const steps: LaneStep[] = [];
  const event: Event = { kind: 'person', delivery: index };
  const ended = cancels > 0 ? cancelled(row) : undefined;
  if (ended) {
    steps.push({ ...spent(`person cancels ${index}`, 'cancels', withDelivery(state, index, ended)), event });
  }
  const again = replays > 0 ? reopened(row) : undefined;
  if (again) {
    const next = woken(withDelivery(state, index, again), world);
    steps.push({ ...spent(`person replays ${index}`, 'replays', next), event });
  }
  if (purges > 0 && mayBePurged(row, rules)) {
    const { isAcknowledged } = row;
    const gone = { ...NEW_DELIVERY, request: 'over' as const, isAcknowledged, isPurged: true };
    steps.push({
      ...spent(`purge deletes ${index}`, 'purges', withDelivery(state, index, gone)),
      event: { kind: 'purged', delivery: index },
    });
  }
  return steps;
}

function wakeSteps(state: State, rules: Rules, { redisForgets }: World): LaneStep[] {
  const { wakes, adding, marker } = state;
  const steps: LaneStep[] = [];
  if (wakes > 0) steps.push(sure('wake-up is marked', marked({ ...state, wakes: wakes - 1 })));
  if (adding > 0) steps.push(sure('job is added', withJob({ ...state, adding: adding - 1 })));
  if (marker && rules.marker === 'expires') steps.push(sure('marker expires', { ...state, marker: false }));
  const isListed = state.deliveries.some((row) => isListedBySweep(row, rules));
  if (rules.sweep !== 'never' && isListed && adding < MOST_JOBS) {
    steps.push(sure('sweep wakes the lane', marked(state)));
  }
  if (redisForgets) {
    if (wakes > 0) steps.push(fault('wake-up is lost', { ...state, wakes: wakes - 1 }));
    if (adding > 0) steps.push(fault('job is lost', { ...state, adding: adding - 1 }));
    const delayed = state.delayed.map(() => false);
    steps.push(fault('Redis forgets', { ...state, marker: false, jobs: 0, delayed }));
  }
  return steps;
}

/** In place of Redis, jobs and wishes for another look. Only what the sweep would list is sure to be looked at. */
function anyLookSteps(state: State, rules: Rules): LaneStep[] {
  const isSure = rules.sweep !== 'never' && state.deliveries.some((row) => isListedBySweep(row, rules));
  return state.workers.flatMap(({ look, isStopping }, index) =>
    look === 'none' && !isStopping
      ? [{ name: `worker ${index} looks`, isSure, next: withWorker(state, index, { look: 'begun' }) }]
      : [],
  );
}

/** BullLaneScheduler.wakeNow: who sets the marker adds the job. */
const marked = (state: State): State =>
  state.marker ? state : { ...state, marker: true, adding: state.adding + 1 };

const withJob = (state: State): State => ({ ...state, jobs: Math.min(state.jobs + 1, MOST_JOBS) });

const without = ({ delayed }: State, index: number): boolean[] => delayed.map((is, at) => is && at !== index);
