/** Serves lanes that were woken. Resolves once each has been looked at, so that a full worker takes no more. */
export type LaneHandler = (subscriptionIds: string[]) => Promise<void>;

/**
 * The seam between "something is due" and "a worker polls": a disposable list of lanes to poll, never the truth.
 *
 * - A lane that is already waiting is not listed twice.
 * - A wake-up that comes after the handler was called for that lane leads to another call.
 * - A wake-up may get lost with the process or with Redis; the sweep makes up for it.
 */
export abstract class LaneScheduler {
  /**
   * Has these lanes looked at, `inMs` milliseconds from now. Never throws: what cannot be announced now is left to
   * the sweep.
   */
  abstract wake(subscriptionIds: readonly string[], inMs?: number): Promise<void>;

  /** Begins to serve lanes in this process. Without it, a process only wakes. */
  abstract serve(handler: LaneHandler): Promise<void>;

  /** Takes no further lanes; resolves when no call of the handler is under way. */
  abstract stop(): Promise<void>;

  /** Whether wake-ups get through right now. */
  abstract isHealthy(): Promise<boolean>;

  /** Lanes waiting to be looked at. */
  abstract depth(): Promise<number>;
}

/** Wake-ups further ahead than this are not kept: the sweep finds their lanes when they are due. */
export const WAKE_HORIZON_MS = 60_000;

/**
 * Wake-ups of one lane that fall into the same slot are one. The further ahead, the longer a slot is: at most 125 of
 * them are ahead of a lane, and none makes a wake-up later by more than a tenth of the time it waits (a tenth of a
 * second for short waits).
 */
const SLOTS = [
  { fromMs: 25_000, slotMs: 1_000 },
  { fromMs: 5_000, slotMs: 500 },
  { fromMs: 0, slotMs: 100 },
];

/**
 * @param atMs the time of the wake-up
 * @param inMs how far ahead that is
 * @returns the end of the slot that it falls into: never earlier than `atMs`
 */
export function wakeSlot(atMs: number, inMs: number): number {
  const { slotMs } = SLOTS.find(({ fromMs }) => inMs >= fromMs) ?? { slotMs: 100 };
  return Math.ceil(atMs / slotMs) * slotMs;
}
