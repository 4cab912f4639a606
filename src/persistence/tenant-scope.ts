import { boundedCache } from '../domain/bounded-cache.js';
import { Group, innerQueries, isQuery, Node, parse, split } from './sql-groups.js';
import { areParameters, endOfCast, namedSources } from './sql-sources.js';

/**
 * Every table with rows of tenants, and the column that says whose a row is; null where only the row that it belongs to
 * says so. A test compares this with the database: a new table belongs here, or on the list of those without rows of tenants.
 */
export const TENANT_TABLES: ReadonlyMap<string, string | null> = new Map([
  ['tenant', 'id'],
  ['api_key', 'tenant_id'],
  ['subscription', 'tenant_id'],
  ['source', 'tenant_id'],
  ['lane', null],
  ['event', 'tenant_id'],
  ['delivery', 'tenant_id'],
  ['delivery_attempt', null],
  ['idempotency_key', 'tenant_id'],
  ['idempotency_key_old', 'tenant_id'],
  ['idempotent_request', 'tenant_id'],
  ['audit_log', 'tenant_id'],
  ['delivery_stat', 'tenant_id'],
  ['delivery_stat_delta', 'tenant_id'],
  ['dead_letter_count', 'tenant_id'],
]);

/** A statement does not say whose rows it is about, so it was not sent. */
export class UnscopedStatement extends Error {
  /** SQLSTATE insufficient_privilege: not to be tried again. */
  readonly code = '42501';

  constructor(table: string, text: string) {
    super(
      `This statement does not say whose rows of ${table} it is about. Compare the tenant's column with a parameter, ` +
        `or say in the statement why it is meant for everybody: /* all tenants: … */\n${text}`,
    );
  }
}

/** Statements are few, but for lists and days in their texts. */
const MAX_REMEMBERED = 2_000;
const passed = boundedCache<true>(MAX_REMEMBERED);

/**
 * Lets a statement pass that says whose rows it is about: each query in it, by itself, compares the tenant's column of
 * each table that holds tenants' rows with a parameter, or with that of something else, and each insert gives it. A
 * comment `all tenants:` with the reason excuses the statement, or what is in the parentheses in which it stands.
 *
 * It is against forgetting, not against deceiving: docs/decisions/0025-tenant-scope.md says what it cannot see.
 * @throws UnscopedStatement
 */
export function assertScoped(text: string): void {
  if (passed.get(text)) return;
  for (const statement of parse(text)) {
    const table = unscoped(statement, new Set());
    if (table !== undefined) throw new UnscopedStatement(table, text);
  }
  passed.set(text, true);
}

/** They are about tables and not about rows, and no tenant's request leads to any. */
const ABOUT_TABLES = /^(alter|analyze|create|drop|lock|truncate)$/;

/**
 * @param around what may scope a table here besides other tables: the names that queries around this one give to what
 *   has tenants in `tenant_id`
 * @returns a table with rows of tenants of which the statement does not say whose it means, if there is one
 */
function unscoped({ nodes, isExcused }: Group, around: ReadonlySet<string>): string | undefined {
  if (isExcused) return undefined;
  const [first] = nodes;
  const makesNoRows = !nodes.includes('select') && !nodes.includes('as');
  const isAboutTables = typeof first === 'string' && ABOUT_TABLES.test(first) && makesNoRows;
  const queries = isAboutTables ? [] : split(nodes, /^(union|intersect|except)$/);
  const sources = namedSources(nodes, around);
  for (const query of queries) {
    const table = unscopedTable(query, sources);
    if (table !== undefined) return table;
  }
  const tables = queries.flatMap((query) => referencesIn(query)).filter(({ key }) => key === 'tenant_id');
  const inside = new Set([...sources, ...tables.map(({ alias }) => alias)]);
  return innerQueries(nodes)
    .map((query) => unscoped(query, inside))
    .find(Boolean);
}

/** A table in a query. */
interface Reference {
  table: string;
  /** The name that it has there. */
  alias: string;
  /** As in TENANT_TABLES. */
  key: string | null;
  isScoped: boolean;
}

function unscopedTable(query: Node[], sources: ReadonlySet<string>): string | undefined {
  const references = referencesIn(query);
  if (references.length === 0) return undefined;
  const equalities = equalitiesIn(query);
  // What is scoped may scope what is joined to it.
  const known = { references, sources };
  for (let scoped = -1, before = -2; scoped > before;) {
    for (const reference of references) {
      reference.isScoped ||= equalities.some(
        ([a, b]) => scopes(a, b, reference, known) || scopes(b, a, reference, known),
      );
    }
    [before, scoped] = [scoped, references.filter(({ isScoped }) => isScoped).length];
  }
  return references.find(({ isScoped }) => !isScoped)?.table;
}

interface Known {
  references: Reference[];
  /** See `unscoped`. */
  sources: ReadonlySet<string>;
}

/** Whether `own = other` says whose rows of the table are meant. */
function scopes(own: Operand, other: Operand, reference: Reference, { references, sources }: Known): boolean {
  const { alias, key } = reference;
  if (own === 'parameter') return false;
  const isOnlyOne = references.every((one) => one === reference || one.key === null);
  if (own.of === undefined ? key === null || !isOnlyOne : own.of !== alias) return false;
  if (key !== null && own.column !== key) return false;
  if (other === 'parameter') return key !== null;
  const others = references.find((one) => one.alias === other.of);
  if (!others) return key !== null && sources.has(other.of ?? '') && other.column === 'tenant_id';
  return others.isScoped && (key === null || others.key === other.column);
}

const AFTER_A_TABLE =
  /^(where|on|using|set|from|join|inner|left|right|full|cross|natural|order|group|having|limit|offset|fetch|for|window|returning|values|select|default|overriding|do|when|and|or|as|tablesample)$/;
/** What the name of a partition has behind that of its table. */
const PARTITION = /_(?:\d{8}(?:_next)?|default)$/;

/** What tables stand behind, until the next clause. */
const BEFORE_TABLES = /^(from|join|into|update|using|table|only|copy)$/;
const NEXT_CLAUSE =
  /^(where|set|select|returning|order|group|having|window|limit|offset|fetch|for|values|default|conflict)$/;

function referencesIn(nodes: Node[], isInside = false): Reference[] {
  let areTables = isInside;
  return nodes.flatMap((node, index) => {
    // Behind a dot it is a column, or a table after its schema.
    const before = nodes[startOfName(nodes, index) - 1];
    const begins = before === undefined || before === ',' || BEFORE_TABLES.test(before as string);
    if (typeof node === 'object') {
      return isQuery(node) || node.isExcused ? [] : referencesIn(node.nodes, areTables && begins);
    }
    areTables = BEFORE_TABLES.test(node) || (areTables && !NEXT_CLAUSE.test(node));
    const key = TENANT_TABLES.get(node.replace(PARTITION, ''));
    if (key === undefined || !areTables || !begins || nodes[index + 1] === '.') return [];
    return [referenceAt(nodes, index, key)];
  });
}

/** Where a name begins that may have a schema and a database before it. */
function startOfName(nodes: Node[], index: number): number {
  return nodes[index - 1] === '.' ? startOfName(nodes, index - 2) : index;
}

function referenceAt(nodes: Node[], index: number, key: string | null): Reference {
  const table = nodes[index] as string;
  const at = nodes[index + 1] === 'as' ? index + 2 : index + 1;
  const name = nodes[at];
  const isNamed = typeof name === 'string' && /^[a-z_]/i.test(name) && !AFTER_A_TABLE.test(name);
  const columns = nodes[isNamed ? at + 1 : index + 1];
  const isInserted = nodes[startOfName(nodes, index) - 1] === 'into';
  const isScoped = isInserted && key !== null && typeof columns === 'object' && columns.nodes.includes(key);
  return { table, alias: isNamed ? name : table, key, isScoped };
}

type Operand = 'parameter' | { of: string | undefined; column: string };

/** The equalities that hold for every row: those of `where` and `on` that are joined by `and` alone. */
function equalitiesIn(nodes: Node[], isInside = false): [Operand, Operand][] {
  if (nodes.includes('or')) return [];
  const found: [Operand, Operand][] = [];
  let isCondition = isInside;
  nodes.forEach((node, index) => {
    if (typeof node === 'object') {
      const isWhole = !isQuery(node) && isBeginning(nodes[index - 1]) && isEnd(nodes[index + 1]);
      if (isCondition && isWhole) found.push(...equalitiesIn(node.nodes, true));
    } else if (node === 'where' || (node === 'on' && nodes[index + 1] !== 'conflict')) isCondition = true;
    else if (AFTER_A_TABLE.test(node) && node !== 'and') isCondition = false;
    else if (isCondition && (node === '=' || node === 'in')) {
      const [left, start] = leftOf(nodes, index);
      const [right, end] = rightOf(nodes, index);
      if (left && right && isBeginning(nodes[start - 1]) && isEnd(nodes[end])) found.push([left, right]);
    }
  });
  return found;
}

const isBeginning = (before: Node | undefined): boolean =>
  before === undefined || before === 'and' || before === 'where' || before === 'on';

/** Whether a condition ends before this: `= $1 is null` or `= $1 || $2` is another one. */
const isEnd = (behind: Node | undefined): boolean =>
  behind === undefined || behind === ',' || (typeof behind === 'string' && AFTER_A_TABLE.test(behind));

function leftOf(nodes: Node[], index: number): [Operand | undefined, start: number] {
  if (nodes[index - 2] === '.') return [operand(nodes[index - 1], nodes[index - 3]), index - 3];
  return [operand(nodes[index - 1]), index - 1];
}

function rightOf(nodes: Node[], index: number): [Operand | undefined, end: number] {
  const [sign, first, second, third] = nodes.slice(index, index + 4);
  const list = sign === 'in' ? first : first === 'any' ? second : undefined;
  if (typeof list === 'object') {
    return [areParameters(list) ? 'parameter' : undefined, index + (sign === 'in' ? 2 : 3)];
  }
  return second === '.'
    ? [operand(third, first), endOfCast(nodes, index + 4)]
    : [operand(first), endOfCast(nodes, index + 2)];
}

function operand(node?: Node, of?: Node): Operand | undefined {
  if (typeof node !== 'string' || typeof of === 'object') return undefined;
  if (node.startsWith('$')) return 'parameter';
  return { of, column: node };
}
