import { Group, isQuery, Node, split } from './sql-groups.js';

/**
 * The names that stand for rows of known tenants: common table expressions and subqueries that are not excused
 * themselves, nor made of what is, and `unnest` of parameters.
 * @param around such names of the queries around this one
 */
export function namedSources(nodes: Node[], around: ReadonlySet<string>): ReadonlySet<string> {
  const names = new Set(around);
  const excused = new Set<string>();
  nodes.forEach((node, index) => {
    if (typeof node === 'string') {
      const alias = aliasAt(nodes, index + 1);
      // `from wanted w`: what is known by the one name is known by the other.
      if (alias !== undefined && names.has(node) && isTable(nodes, index)) names.add(alias);
      if (alias !== undefined && excused.has(node)) excused.add(alias);
      return;
    }
    const name = expressionAt(nodes, index) ?? aliasAt(nodes, index + 1);
    if (isQuery(node) || isUnnested(nodes, index)) {
      if (name === undefined) return;
      const isOpen = hasExcuse(node) || [...excused].some((one) => mentions(node, one));
      names[isOpen ? 'delete' : 'add'](name);
      if (isOpen) excused.add(name);
    } else if (!node.isExcused && isTable(nodes, index)) {
      for (const inner of namedSources(node.nodes, names)) names.add(inner);
    }
  });
  return names;
}

const NO_NAME =
  /^(where|on|using|set|from|join|inner|left|right|full|cross|natural|order|group|having|limit|offset|fetch|for|window|returning|values|select|union|intersect|except|and|or|is|not|in|as|with|lateral|then|else|end|do|when|conflict)$/;

/** The name behind a table, a subquery or a function in `from`. */
function aliasAt(nodes: Node[], index: number): string | undefined {
  const [first, second] = nodes.slice(index, index + 2);
  if (first === 'with' && second === 'ordinality') return aliasAt(nodes, index + 2);
  const name = first === 'as' ? second : first;
  return typeof name === 'string' && /^[a-z_]/i.test(name) && !NO_NAME.test(name) ? name : undefined;
}

/** The name of the common table expression whose query stands there. */
function expressionAt(nodes: Node[], index: number): string | undefined {
  let at = index - 1;
  while (nodes[at] === 'materialized' || nodes[at] === 'not') at--;
  if (nodes[at] !== 'as') return undefined;
  const name = nodes[typeof nodes[at - 1] === 'object' ? at - 2 : at - 1];
  return typeof name === 'string' ? name : undefined;
}

const isTable = (nodes: Node[], index: number): boolean => {
  const before = nodes[index - 1];
  return before === ',' || before === 'from' || before === 'join' || before === 'using';
};

const isUnnested = (nodes: Node[], index: number): boolean =>
  nodes[index - 1] === 'unnest' && areParameters(nodes[index] as Group);

/** Whether there is nothing but parameters in the list, with their types. */
export function areParameters({ nodes }: Group): boolean {
  return split(nodes, /^,$/).every(
    (element) =>
      typeof element[0] === 'string' &&
      element[0].startsWith('$') &&
      endOfCast(element, 1) === element.length,
  );
}

/** Where what follows begins, behind `::type` or `::type[]`. */
export function endOfCast(nodes: Node[], index: number): number {
  if (nodes[index] !== '::') return index;
  let at = index + 2;
  while (nodes[at] === '[' && nodes[at + 1] === ']') at += 2;
  return endOfCast(nodes, at);
}

function hasExcuse({ nodes, isExcused }: Group): boolean {
  return isExcused || nodes.some((node) => typeof node === 'object' && hasExcuse(node));
}

function mentions({ nodes }: Group, name: string): boolean {
  return nodes.some((node) => (typeof node === 'object' ? mentions(node, name) : node === name));
}
