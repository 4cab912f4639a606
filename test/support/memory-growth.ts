import { readFileSync, writeFileSync } from 'node:fs';

/** @returns by how many MiB the resident memory of a process was larger at its peak during `work` than before */
export async function memoryGrowth(pid: number, work: () => Promise<void>): Promise<number> {
  // proc(5): resets VmHWM to what is resident now.
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const before = residentMiB(pid, 'VmRSS');
  await work();
  return residentMiB(pid, 'VmHWM') - before;
}

function residentMiB(pid: number, name: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
}
