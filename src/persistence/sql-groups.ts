/** Words and signs of a statement in their order, and what is in parentheses as groups. */
export interface Group {
  nodes: Node[];
  /** A comment in it says that it is meant for all tenants, and why. */
  isExcused: boolean;
}
export type Node = string | Group;

/** Comments, strings, quoted names, parameters, words, signs. */
const TOKEN =
  /--[^\n]*|\/\*(?<comment>.*?)\*\/|e'(?:\\.|''|[^'\\])*'|'(?:''|[^'])*'|"(?<name>[^"]*)"|\$\d+|[a-z_]\w*|[<>!]=|<>|::|\S/gis;
const EXCUSE = /^\s*all tenants: *\S/;

/**
 * Takes a text of SQL apart, as far as it takes to see which tables a query is about. Strings stay as they are, quotes
 * around names do not, and other names are in lower case, as are keywords.
 * @returns the statements
 */
export function parse(text: string): Group[] {
  let statement = newGroup();
  const statements = [statement];
  let open: Group[] = [];
  for (const { 0: token, groups } of text.matchAll(TOKEN)) {
    const group = open.at(-1) ?? statement;
    if (groups?.['comment'] !== undefined) group.isExcused ||= EXCUSE.test(groups['comment']);
    else if (token.startsWith('--')) continue;
    else if (token === '(') {
      const inner = newGroup();
      group.nodes.push(inner);
      open.push(inner);
    } else if (token === ')') open.pop();
    else if (token === ';') {
      open = [];
      statements.push((statement = newGroup()));
    } else group.nodes.push(groups?.['name'] ?? token.toLowerCase());
  }
  return statements;
}

const newGroup = (): Group => ({ nodes: [], isExcused: false });

const QUERY = /^(select|insert|update|delete|merge|with|values|table)$/;

export function isQuery({ nodes: [first] }: Group): boolean {
  return typeof first === 'string' && QUERY.test(first);
}

/** The queries in parentheses, however deep, but not those within these, and none that is excused with its surroundings. */
export function innerQueries(nodes: Node[]): Group[] {
  return nodes.flatMap((node) => {
    if (typeof node === 'string' || node.isExcused) return [];
    return isQuery(node) ? [node] : innerQueries(node.nodes);
  });
}

/** What lies between the words that `separator` matches, on this level. */
export function split(nodes: Node[], separator: RegExp): Node[][] {
  let part: Node[] = [];
  const parts = [part];
  for (const node of nodes) {
    if (typeof node === 'string' && separator.test(node)) parts.push((part = []));
    else part.push(node);
  }
  return parts;
}
