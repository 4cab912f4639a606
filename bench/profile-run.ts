import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cpuTimes, readProfile, type CpuTimes } from './profile.js';
import type { Stand } from './stand.js';
import { countsStatements, statementTimes, type StatementTime } from './statement-times.js';

/** Both run Node code for every delivery. */
const PROFILED = ['api', 'worker'] as const;
/** Of this build: profiled are its own processes. */
const OWN_ROOT = new URL('../', import.meta.url).href;
export type Profiled = (typeof PROFILED)[number];

/** Where the time of a delivery went in one scenario. */
export interface DeliveryProfile {
  deliveries: number;
  /** Microseconds a delivery. */
  roles: Record<Profiled, CpuTimes>;
  /** Null where Postgres does not count its statements. */
  statements: StatementTime[] | null;
}

/**
 * Profiles api and worker from now until `stop` is called.
 * @param title names the files in `folder`
 */
export async function startProfiling(stand: Stand, folder: string, title: string) {
  mkdirSync(folder, { recursive: true });
  const counts = await countsStatements(stand);
  await Promise.all(PROFILED.map((role) => stand.roles[role].call('startProfile')));

  const stop = async (deliveries: number): Promise<DeliveryProfile> => {
    const timesOf = async (role: Profiled): Promise<CpuTimes> => {
      const path = join(resolve(folder), `${role}-${title}.cpuprofile`);
      const cpuMicros = await stand.roles[role].call('stopProfile', path);
      return cpuTimes(readProfile(path), OWN_ROOT, cpuMicros / deliveries);
    };
    const statements = counts ? await statementTimes(stand) : null;
    const [api, worker] = await Promise.all([timesOf('api'), timesOf('worker')]);
    return { deliveries, roles: { api, worker }, statements };
  };
  return { stop };
}
