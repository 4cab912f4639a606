import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import type { Stand } from './stand.js';

const SAMPLE_MS = 500;
export const WATCHED = ['api', 'worker', 'scheduler'] as const;
export type Watched = (typeof WATCHED)[number];

/** Bytes. */
export interface Peaks {
  /** Resident set at its highest since the process began, as the kernel kept it (VmHWM). */
  roles: Record<Watched, { resident: number; private: number }>;
  /** What Redis has given out (used_memory_peak), since it began. */
  redis: number;
}

/**
 * Watches the memory of the roles from now on. The resident peak is the kernel's own and misses nothing; what of it is
 * private to the process (smaps_rollup) is sampled.
 */
export class MemoryWatch {
  private readonly private: Record<Watched, number> = { api: 0, worker: 0, scheduler: 0 };
  private readonly sampling = setInterval(() => this.sample(), SAMPLE_MS);

  constructor(private readonly stand: Stand) {}

  /** How much is resident now, in bytes. */
  resident(role: Watched): number {
    return kibibytes(this.pid(role), 'status', 'VmRSS');
  }

  async stop(): Promise<Peaks> {
    clearInterval(this.sampling);
    this.sample();
    const ofRole = (role: Watched) => ({
      resident: kibibytes(this.pid(role), 'status', 'VmHWM'),
      private: this.private[role],
    });
    return {
      roles: { api: ofRole('api'), worker: ofRole('worker'), scheduler: ofRole('scheduler') },
      redis: await usedMemoryPeak(this.stand.redisUrl),
    };
  }

  private sample(): void {
    for (const role of WATCHED) {
      const pid = this.pid(role);
      const bytes =
        kibibytes(pid, 'smaps_rollup', 'Private_Clean') + kibibytes(pid, 'smaps_rollup', 'Private_Dirty');
      this.private[role] = Math.max(this.private[role], bytes);
    }
  }

  private pid(role: Watched): number {
    return this.stand.roles[role].pid;
  }
}

/** A line of a file in /proc, in bytes; 0 once the process has ended. */
export function kibibytes(pid: number, file: string, name: string): number {
  try {
    const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
    return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

async function usedMemoryPeak(url: string): Promise<number> {
  const client = new Redis(url);
  try {
    return Number(/used_memory_peak:(\d+)/.exec(await client.info('memory'))?.[1] ?? NaN);
  } finally {
    client.disconnect();
  }
}
