import {
  type Claim,
  NEW_WORKER,
  type State,
  withClaim,
  withDelivery,
  withWorker,
  type Worker,
} from './lane-state.js';
import { claimable, claimed, recorded, released, withAttempt } from './rows.js';
import { type Event, type LaneStep, type Rules, spent, sure, woken, type World } from './rules.js';

/** BullLaneScheduler.take and LaneRunner.look. */
export function laneSteps(state: State, index: number, rules: Rules, world: World): LaneStep[] {
  const worker = state.workers[index]!;
  const name = (what: string) => `worker ${index} ${what}`;
  const steps: LaneStep[] = [];
  if (state.jobs > 0 && !worker.hasJob && !worker.isStopping) {
    const next = withWorker({ ...state, jobs: state.jobs - 1 }, index, { hasJob: true });
    steps.push(sure(name('takes a job'), next));
  }
  if (worker.hasJob) {
    const next = withWorker(state, index, looking({ ...worker, hasJob: false }, rules));
    const unmarked = rules.unmarks === 'before the look' ? { ...next, marker: false } : next;
    steps.push(sure(name('serves its job'), unmarked));
  }
  if (worker.look === 'begun') steps.push(...askSteps(state, index, rules, world));
  if (worker.look === 'answered') {
    const hadMore = rules.wishDuringClaim === 'kept' && worker.hasMore;
    const claims = worker.claims.map((claim) =>
      claim.step === 'granted' ? { ...claim, step: 'held' as const } : claim,
    );
    const hasMore = world.hasRedis && (hadMore || worker.got === worker.quota);
    const after = { ...worker, hasMore, claims, quota: 0, got: 0 };
    const ended = lookEnded(after);
    const next = withWorker(state, index, hadMore ? lookedIfWanted(ended, rules, world) : ended);
    const unmarked = rules.unmarks === 'after the look' ? { ...next, marker: false } : next;
    steps.push(sure(name('ends its look'), unmarked));
  }
  if (state.left.crashes > 0 && (worker.hasJob || worker.look !== 'none' || worker.claims.length > 0)) {
    steps.push(spent(name('dies'), 'crashes', withWorker(state, index, NEW_WORKER)));
  }
  if (state.left.stops > 0 && !worker.isStopping) {
    steps.push(spent(name('is told to stop'), 'stops', withWorker(state, index, { isStopping: true })));
  }
  if (worker.isStopping && rules.stop === 'wakes the lane' && isIdle(worker) && worker.hasMore) {
    const next = woken(withWorker(state, index, { hasMore: false }), world);
    steps.push(sure(name('wakes the lane for others'), next));
  }
  return steps;
}

/** LaneRunner.takeRoom and the claim statement. */
function askSteps(state: State, index: number, rules: Rules, world: World): LaneStep[] {
  const worker = state.workers[index]!;
  const quota = worker.isStopping ? 0 : room(worker, world);
  if (quota <= 0) {
    const full = lookEnded({ ...worker, hasMore: world.hasRedis });
    return [sure(`worker ${index} finds itself full`, withWorker(state, index, full))];
  }
  return claimable(state, quota, rules, world).map((taken) => {
    const claims = taken.map((delivery): Claim => {
      const row = state.deliveries[delivery]!;
      return {
        delivery,
        attempt: claimed(row, rules).attempts,
        step: 'granted',
        isLate: false,
        afterInterruption: row.lease !== 'none',
        outcome: 'none',
      };
    });
    const deliveries = state.deliveries.map((row, at) => (taken.includes(at) ? claimed(row, rules) : row));
    const next = withWorker({ ...state, deliveries }, index, {
      look: 'answered',
      quota,
      got: taken.length,
      hasMore: false,
      claims: [...worker.claims, ...claims],
    });
    return sure(`worker ${index} claims ${taken.join(' and ') || 'nothing'}`, next);
  });
}

/** LaneRunner.send and AttemptPipeline. */
export function claimSteps(state: State, index: number, at: number, rules: Rules, world: World): LaneStep[] {
  const worker = state.workers[index]!;
  const claim = worker.claims[at]!;
  const { delivery, attempt, step } = claim;
  const row = state.deliveries[delivery]!;
  const event = (kind: 'sent' | 'result'): Event => ({ kind, delivery, attempt });
  const name = (what: string) => `worker ${index} ${what} ${delivery}`;
  const to = (change: Partial<Claim>, from = state): State =>
    withWorker(from, index, withClaim(worker, at, change));
  const givenBack = () =>
    to(
      { step: 'settled', outcome: 'given back' },
      withDelivery(state, delivery, released(row, claim, rules)),
    );
  const answered = (answer: 'accepted' | 'refused'): LaneStep => {
    const seen = answer === 'accepted' ? withAttempt(row, attempt, () => ({ isAccepted: true })) : row;
    const after = lookedIfWanted(withClaim(worker, at, { step: answer }), rules, world);
    return sure(
      `target answers worker ${index}: ${answer} ${delivery}`,
      withWorker(withDelivery(state, delivery, seen), index, after),
    );
  };

  switch (step) {
    case 'granted':
      return [];
    case 'held':
      return [
        claim.isLate || worker.isStopping
          ? sure(name('gives back'), givenBack())
          : sure(name('is about to send'), to({ step: 'cleared' })),
        ...(state.left.silences > 0
          ? [spent(name('narrows its window and gives back'), 'silences', givenBack())]
          : []),
      ];
    case 'cleared': {
      const sent = withAttempt(row, attempt, (before) => ({ sent: before.sent + 1 }));
      return [
        {
          ...sure(name('sends'), to({ step: 'open' }, withDelivery(state, delivery, sent))),
          event: event('sent'),
        },
      ];
    }
    case 'open':
      return [answered('accepted'), answered('refused')];
    case 'accepted':
    case 'refused': {
      const [after, counts] = recorded(row, claim, rules, world);
      const outcome = counts && after.status === 'retrying' ? 'retry' : 'none';
      const next = to({ step: 'settled', outcome }, withDelivery(state, delivery, after));
      return [{ ...sure(name('records'), next), ...(counts && { event: event('result') }) }];
    }
    case 'settled': {
      const isFreed = claim.outcome === 'given back' || world.maxConcurrency !== null;
      const freed = {
        ...worker,
        hasMore: worker.hasMore || (world.hasRedis && isFreed),
        claims: worker.claims.filter((other) => other !== claim),
      };
      const next = withWorker(state, index, lookedIfWanted(freed, rules, world));
      const wakesLater = world.hasRedis && world.retriesAreNear && claim.outcome === 'retry';
      const delayed = next.delayed.map((is, of) => is || (wakesLater && of === delivery));
      return [sure(name('is done with'), { ...next, delayed })];
    }
  }
}

/** LaneRunner.look. */
function looking(worker: Worker, rules: Rules): Worker {
  if (worker.look === 'none') return { ...worker, look: 'begun' };
  return { ...worker, lookAgain: rules.wakeDuringLook === 'kept' };
}

const lookEnded = (worker: Worker): Worker => ({
  ...worker,
  look: worker.lookAgain ? 'begun' : 'none',
  lookAgain: false,
});

/** LaneRunner.lookIfWanted and Lane.wantsMore. */
function lookedIfWanted(worker: Worker, rules: Rules, world: World): Worker {
  const wantsMore = worker.hasMore && room(worker, world) * 2 >= world.window;
  return wantsMore && !worker.isStopping ? looking(worker, rules) : worker;
}

/** Lane.room: what a look has asked for counts until its answer is dealt with. */
function room({ claims, quota, got }: Worker, { window }: World): number {
  const unanswered = claims.filter(({ step }) =>
    ['granted', 'held', 'cleared', 'open'].includes(step),
  ).length;
  return window - unanswered - (quota - got);
}

const isIdle = ({ hasJob, look, claims }: Worker): boolean =>
  !hasJob && look === 'none' && claims.length === 0;
