import { AREA_NAMES } from './profile.js';
import type { DeliveryProfile, Profiled } from './profile-run.js';
import { aligned, machine, titleOf, whole, type Report } from './report.js';
import type { Figures } from './scenario.js';

const FUNCTIONS_LISTED = 40;
/** What takes less is summed up: a statement with fewer microseconds a delivery. */
const LEAST_MICROS = 0.1;

type Profile = Figures & { profile: DeliveryProfile };

/** The section of the profile in docs/benchmarks.md. */
export function profileSection(report: Report): string {
  return `\`${report.command}\` on ${machine(report)}:\n\n${profileTables(report.figures)}`;
}

/** Markdown: CPU time a delivery by area, and by statement in Postgres. */
export function profileTables(figures: Figures[]): string {
  const profiled = figures.filter((figure): figure is Profile => figure.profile !== null);
  return `${areaTable(profiled)}
${profiled.map((figure) => `${titleOf(figure)}, in PostgreSQL:\n\n${statementTable(figure)}`).join('\n')}`;
}

function areaTable(profiled: Profile[]): string {
  const columns = profiled.flatMap((figure) => [
    { title: `${titleOf(figure)}: api`, micros: areaOf(figure, 'api') },
    { title: 'worker', micros: areaOf(figure, 'worker') },
    { title: 'both', micros: (name: string) => areaOf(figure, 'api')(name) + areaOf(figure, 'worker')(name) },
  ]);
  const rows = AREA_NAMES.map((name) => [name, ...columns.map(({ micros }) => micros(name).toFixed(1))]);
  const sums = columns.map(({ micros }) =>
    AREA_NAMES.reduce((sum, name) => sum + micros(name), 0).toFixed(0),
  );
  return aligned([
    ['CPU µs a delivery', ...columns.map(({ title }) => title)],
    ...rows,
    ['**all**', ...sums.map((sum) => `**${sum}**`)],
  ]);
}

const areaOf = (figure: Profile, role: Profiled) => (name: string) =>
  figure.profile.roles[role].areas.get(name) ?? 0;

function statementTable({ profile: { statements, deliveries } }: Profile): string {
  if (statements === null) return 'Not counted: this server has not loaded pg_stat_statements.\n';
  const total = statements.reduce((sum, { totalMs }) => sum + totalMs, 0);
  const row = (name: string, calls: number, rows: number, totalMs: number) => [
    name,
    ((calls / deliveries) * 1000).toFixed(1),
    (rows / calls).toFixed(1),
    (totalMs / calls).toFixed(3),
    ((totalMs * 1000) / deliveries).toFixed(1),
    `${((totalMs / total) * 100).toFixed(0)} %`,
  ];
  const isLong = ({ totalMs }: { totalMs: number }) => (totalMs * 1000) / deliveries >= LEAST_MICROS;
  const others = statements.filter((statement) => !isLong(statement));
  const sum = (key: 'calls' | 'rows' | 'totalMs') => others.reduce((all, one) => all + one[key], 0);
  return aligned([
    ['statement', 'calls per 1,000', 'rows a call', 'ms a call', 'µs a delivery', 'share'],
    ...statements
      .filter(isLong)
      .map((one) => row(`\`${one.name.replaceAll('|', '\\|')}\``, one.calls, one.rows, one.totalMs)),
    ...(others.length > 0
      ? [row(`${whole(others.length)} others`, sum('calls'), sum('rows'), sum('totalMs'))]
      : []),
  ]);
}

/** For the person who wants to make it faster: the functions with the greatest self time. */
export function hottestFunctions(figures: Figures[]): string {
  return figures
    .flatMap((figure) =>
      Object.entries(figure.profile?.roles ?? {}).map(([role, { functions }]) => {
        const lines = functions
          .slice(0, FUNCTIONS_LISTED)
          .map(({ name, area, micros }) => `${micros.toFixed(2).padStart(7)}  ${area.padEnd(30)} ${name}\n`);
        return `${titleOf(figure)}, ${role}: µs a delivery, area, function\n\n${lines.join('')}`;
      }),
    )
    .join('\n');
}
