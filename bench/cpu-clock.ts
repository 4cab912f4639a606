import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: the unit of times in /proc, 100 a second on every Linux of today. */
const TICKS_A_SECOND = 100;

/** proc(5), counted from the field after the command: parent, then own and waited-for children's CPU time. */
const PARENT = 1;
const TIMES = [11, 12, 13, 14];

/**
 * CPU time, user and system, that a process and its children have used so far; those that have ended included.
 *
 * @returns microseconds; null where there is no /proc
 */
export function cpuMicros(pid: number): number | null {
  const own = ticks(pid);
  if (own === null) return null;
  const children = childrenOf(pid).reduce((sum, child) => sum + (ticks(child) ?? 0), 0);
  return ((own + children) / TICKS_A_SECOND) * 1e6;
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => stat(candidate)?.[PARENT] === String(pid));
}

function ticks(pid: number): number | null {
  const fields = stat(pid);
  return fields && TIMES.reduce((sum, index) => sum + Number(fields[index]), 0);
}

/** What follows the command, which stands in parentheses and may itself hold spaces and parentheses. */
function stat(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}
