import { inspect } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 5;
/** A test that waits for so long has failed, on whatever machine. How soon something happens is never tested so. */
const TIMEOUT_MS = 60_000;

/** Thrown by a condition that can never hold any more: the wait ends at once. */
export class CannotHappen extends Error {}

/**
 * Polls until the condition gives something truthy, and resolves to that.
 *
 * @throws CannotHappen as the condition threw it
 * @throws Error naming `what` and the last value (or what the condition threw) after `timeoutMs`
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = TIMEOUT_MS, what }: { timeoutMs?: number; what: string },
): Promise<Exclude<T, false | 0 | '' | null | undefined>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let last: string;
    try {
      const value = await condition();
      if (value) return value as Exclude<T, false | 0 | '' | null | undefined>;
      last = `the last value was ${inspect(value)}`;
    } catch (error) {
      if (error instanceof CannotHappen) throw error;
      last = `the last try threw ${inspect(error)}`;
    }
    if (Date.now() > deadline) throw new Error(`Waited ${timeoutMs} ms for ${what}; ${last}`);
    await sleep(POLL_MS);
  }
}
