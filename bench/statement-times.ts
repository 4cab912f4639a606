import type { Stand } from './stand.js';

/** What Postgres itself says of one statement (pg_stat_statements). */
export interface StatementTime {
  /** The name under which it is prepared, else how it begins. */
  name: string;
  calls: number;
  rows: number;
  /** Executing it, waits for locks and for the disk included, its commit not. */
  totalMs: number;
}

const BEGINNING = 60;

/** @returns whether this server counts statements: its own start must have loaded the library */
export async function countsStatements({ database }: Stand): Promise<boolean> {
  try {
    await database.query('create extension if not exists pg_stat_statements');
    await database.query('select /* bench */ pg_stat_statements_reset()');
    return true;
  } catch {
    return false;
  }
}

/** The statements of the service since they were counted from 0, the longest in sum first. */
export async function statementTimes({ database, roles }: Stand): Promise<StatementTime[]> {
  const { rows } = await database.query<{ query: string; calls: number; rows: number; ms: number }>(
    `select /* bench */ query, calls::int, rows::int, total_exec_time as ms from pg_stat_statements
     where dbid = (select oid from pg_database where datname = current_database())
       and query not like '%/* bench */%'
     order by total_exec_time desc`,
  );
  const named = await Promise.all(Object.values(roles).map((role) => role.call('statementTexts')));
  const names = new Map(named.flatMap(Object.entries<string>).map(([name, text]) => [shape(text), name]));
  return rows.map(({ query, calls, rows: count, ms }) => {
    const text = shape(query);
    const beginning = text.length > BEGINNING ? `${text.slice(0, BEGINNING)}…` : text;
    return { name: names.get(text) ?? beginning, calls, rows: count, totalMs: ms };
  });
}

/** A statement without its constants, which pg_stat_statements replaces by parameters. */
function shape(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/\/\*.*?\*\//g, '')
    .replaceAll(/'[^']*'|\$?\b\d+\b|\$\d+/g, '?')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
