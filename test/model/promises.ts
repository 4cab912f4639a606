import type { Event, World } from './rules.js';
import { type Claim, type Delivery, isOpen, isTerminal, type State } from './lane-state.js';
import type { Step } from './state-space.js';

type Promised = (step: Step<State, Event>, before: State, world: World) => boolean;

/** What holds in every state and for every step, whatever fails. */
export const PROMISES = {
  'what was acknowledged is stored': ({ next }) =>
    next.deliveries.every((row) => !row.isAcknowledged || row.status !== 'none' || row.isPurged),

  'what has not ended is due': ({ next }) =>
    next.deliveries.every((row) => isOpen(row) === (row.due !== 'never')),

  'only what has ended is purged': ({ event }, before) =>
    event?.kind !== 'purged' || isTerminal(before.deliveries[event.delivery]!),

  // Claims from before a replay do not count: a person took the delivery out of their hands.
  'a delivery has one claim with a valid lease': ({ next }) =>
    next.deliveries.every(({ budgetStart }, delivery) => {
      const valid = claimsOf(next, delivery).filter((claim) => !claim.isLate && claim.attempt > budgetStart);
      return valid.length <= 1;
    }),

  'no two claims share an attempt number': ({ next }) =>
    next.deliveries.every((_, delivery) => {
      const numbers = claimsOf(next, delivery).map(({ attempt }) => attempt);
      return new Set(numbers).size === numbers.length;
    }),

  'an attempt is sent at most once': ({ next }) =>
    next.deliveries.every(({ history }) => history.every(({ sent }) => sent <= 1)),

  'what was accepted is sent again only after a crash, a freeze or a replay': ({ event }, before, { may }) =>
    event?.kind !== 'sent' ||
    !wasAccepted(before.deliveries[event.delivery]!) ||
    (['crashes', 'freezes', 'replays'] as const).some((what) => before.left[what] < (may[what] ?? 0)),

  'a limit of concurrency is kept': ({ next }, _, { maxConcurrency }) =>
    maxConcurrency === null ||
    next.workers.flatMap(({ claims }) => claims.filter(({ step }) => step === 'open')).length <=
      maxConcurrency,

  'a result counts only for the latest attempt, and once': ({ event, next }, before) =>
    event?.kind !== 'result' ||
    (before.deliveries[event.delivery]!.attempts === event.attempt &&
      next.deliveries[event.delivery]!.history[event.attempt]!.counted === 1),

  'only a person changes what has ended': ({ event, next }, before) =>
    next.deliveries.every((row, delivery) => {
      const was = before.deliveries[delivery]!;
      return !isTerminal(was) || row.status === was.status || row.isPurged || event?.kind === 'person';
    }),

  'what is delivered was accepted': ({ next }) =>
    next.deliveries.every((row) => row.status !== 'delivered' || wasAccepted(row)),

  'an answer stays in the log': ({ next }, before) =>
    next.deliveries.every((row, delivery) =>
      before.deliveries[delivery]!.history.every(
        (attempt, number) =>
          row.isPurged || attempt.row !== 'answered' || row.history[number]!.row === 'answered',
      ),
    ),
} satisfies Record<string, Promised>;

/** What holds where nothing can happen any more by itself. */
export const ENDINGS = {
  'every delivery ends': ({ deliveries }) => deliveries.every((row) => !isOpen(row)),

  'no wake-up is left over': ({ marker, jobs, delayed, wakes, adding }) =>
    !marker && jobs + wakes + adding === 0 && !delayed.includes(true),

  'workers hold nothing': ({ workers }) =>
    workers.every(({ hasJob, look, claims }) => !hasJob && look === 'none' && claims.length === 0),
} satisfies Record<string, (state: State) => boolean>;

/** Not promised: see docs/protocol-model.md. */
export const LOG_IS_COMPLETE = {
  'what was sent is in the log': ({ deliveries }) =>
    deliveries.every(({ history }) => history.every(({ sent, row }) => sent === 0 || row !== 'none')),
} satisfies Record<string, (state: State) => boolean>;

const claimsOf = ({ workers }: State, delivery: number): Claim[] =>
  workers.flatMap(({ claims }) =>
    claims.filter((claim) => claim.delivery === delivery && claim.step !== 'settled'),
  );

const wasAccepted = ({ history }: Delivery): boolean => history.some(({ isAccepted }) => isAccepted);
