import type { PulseReport } from './memory-pulse.js';
import type { MemoryScenario } from './memory-scenarios.js';
import { WATCHED, type Peaks, type Watched } from './memory-watch.js';
import { aligned, machine, whole } from './report.js';
import type { Stand } from './stand.js';

const MEBIBYTE = 1_048_576;

/** Mebibytes that a process may have resident, and that Redis may give out, whatever happens. */
export const LIMITS: Record<Watched | 'redis', number> = {
  api: 512,
  worker: 1_024,
  scheduler: 384,
  redis: 256,
};

export interface Outcome {
  scenario: MemoryScenario;
  seen: string[];
  pulse: PulseReport;
  peaks: Peaks;
  /** Roles that had ended by themselves. */
  died: Watched[];
  versions: Stand['versions'];
}

export function isWithin({ peaks, died }: Outcome): boolean {
  const mebibytes = peaksOf(peaks);
  return died.length === 0 && Object.entries(LIMITS).every(([name, limit]) => mebibytes[name]! <= limit);
}

function peaksOf({ roles, redis }: Peaks): Record<string, number> {
  const resident = WATCHED.map((role) => [role, roles[role].resident / MEBIBYTE]);
  return { ...Object.fromEntries(resident), redis: redis / MEBIBYTE };
}

/** A column for each process, a row for each scenario. */
export function memoryTable(outcomes: Outcome[]): string {
  const names = Object.keys(LIMITS);
  const cell = (name: string, { peaks, died }: Outcome): string => {
    if (died.includes(name as Watched)) return 'DIED';
    const peak = peaksOf(peaks)[name]!;
    return peak <= LIMITS[name as Watched] ? whole(peak) : `${whole(peak)} MISSED`;
  };
  return aligned([
    ['peak, MiB', ...names],
    ['**limit**', ...names.map((name) => `**${LIMITS[name as Watched]}**`)],
    ...outcomes.map((outcome) => [
      `\`${outcome.scenario.name}\``,
      ...names.map((name) => cell(name, outcome)),
    ]),
  ]);
}

/** How the tenant was served who did no harm. */
export function pulseTable(outcomes: Outcome[]): string {
  return aligned([
    [
      'others meanwhile',
      'sent',
      'accepted',
      'arrived',
      'accept p50 / p99, ms',
      'arrival p50 / p99 / slowest, ms',
    ],
    ...outcomes.map(({ scenario, pulse }) => [
      `\`${scenario.name}\``,
      whole(pulse.sent),
      whole(pulse.sent - Object.values(pulse.refused).reduce((sum, count) => sum + count, 0)),
      whole(pulse.arrived),
      [pulse.accept.p50, pulse.accept.p99].map(whole).join(' / '),
      [pulse.acceptToArrival.p50, pulse.acceptToArrival.p99, pulse.slowest].map(whole).join(' / '),
    ]),
  ]);
}

export function whatHappened(outcomes: Outcome[]): string {
  return outcomes
    .map(({ scenario, seen, pulse }) => {
      const refused = Object.entries(pulse.refused).map(
        ([status, count]) => `${count} of others answered ${status}`,
      );
      return `- \`${scenario.name}\`: ${scenario.title}. Seen: ${[...seen, ...refused].join('; ')}.\n`;
    })
    .join('');
}

/**
 * The generated part of docs/memory.md.
 * @param command as it was called
 * @param size share of the numbers of each scenario that was played
 */
export function memorySection(command: string, size: number, outcomes: Outcome[]): string {
  const [{ versions }] = outcomes as [Outcome];
  const share = size === 1 ? '' : `, with ${size} of the numbers named in the scenarios below`;
  return `\`${command}\` on ${machine({ versions })}${share}:

${memoryTable(outcomes)}
${pulseTable(outcomes)}
${whatHappened(outcomes)}`;
}
