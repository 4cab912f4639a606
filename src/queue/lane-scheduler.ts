/** Serves lanes that were woken. Resolves once each has been looked at, so that a full worker takes no more. */
export type LaneHandler = (subscriptionIds: string[]) => Promise<void>;

/**
 * The seam between "something is due" and "somebody looks": a disposable list of lanes to look at, never the truth.
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

/** Wake-ups of one lane that fall into the same tenth of a second are one. */
const SLOT_MS = 100;

/** @returns the end of the slot that `atMs` falls into: never earlier, at most a tenth of a second later */
export const wakeSlot = (atMs: number): number => Math.ceil(atMs / SLOT_MS) * SLOT_MS;
