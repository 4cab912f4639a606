import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../src/simulator/seeded-random.js';
import { waitFor } from '../support/wait-for.js';
import { Account, takeAccount } from './account.js';
import type { Fault } from './fault-table.js';
import type { Stand } from './stand.js';
import { Workload } from './workload.js';

/** How long the load runs before a fault at the least and at the most, and after it. */
const BEFORE_MS = [400, 1_400] as const;
const AFTER_MS = 600;
/** By when everything that was handed in must have been accepted. */
const ACCEPTED_MS = 60_000;
/** By when all must have ended. A connection that died in silence is given up after 35 s. */
const DRAIN_MS = 90_000;

/**
 * One fault in the middle of one load, and the account of it.
 *
 * @throws Error when a process ends by itself, or not everything comes to an end
 */
export async function playRound(stand: Stand, fault: Fault, name: string, seed: number): Promise<Account> {
  return Promise.race([play(stand, fault, name, seed), ...stand.processes.map(({ crash }) => crash)]);
}

async function play(stand: Stand, fault: Fault, name: string, seed: number): Promise<Account> {
  const random = seededRandom(seed, name);
  const between = (low: number, high: number): number => Math.round(low + random() * (high - low));
  const workload = new Workload(stand, name, seededRandom(seed, `${name} load`));
  try {
    await workload.prepare();
    workload.start();
    await sleep(between(...BEFORE_MS));
    const from = Date.now();
    await fault.inject({ stand, prefix: workload.prefix, between });
    const to = Date.now();
    await sleep(AFTER_MS);
    await workload.stop(ACCEPTED_MS);
    await workload.cancelHeld();
    await drained(stand, workload);
    await waitFor(
      async () => (await Promise.all(stand.processes.map((one) => one.isReady()))).every(Boolean),
      {
        what: 'every role to be ready',
      },
    );
    const account = await takeAccount(stand, workload, { from, to }, fault);
    const { accepted, arrived } = account.during;
    if (arrived < fault.flowsOn * accepted) {
      account.violations.push(`of ${accepted} events only ${arrived} arrived while the fault lasted`);
    }
    return account;
  } finally {
    await workload.close();
  }
}

async function drained(stand: Stand, { tenantId }: Workload): Promise<void> {
  await waitFor(
    async () => {
      const { rows } = await stand.database.query<{ open: number }>(
        'select count(*)::int as open from delivery where tenant_id = $1 and next_attempt_at is not null',
        [tenantId],
      );
      return rows[0]!.open === 0;
    },
    { what: 'every delivery to end', timeoutMs: DRAIN_MS },
  );
}
