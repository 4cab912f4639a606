import type { Pool } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { dataSourceOptions } from '../../src/persistence/data-source.js';

/** How Postgres executed one statement, as auto_explain tells it. */
export interface Executed {
  text: string;
  /** Tables read, by their names as partitions are named: `delivery_20260101`. */
  scans: Scan[];
  /** Blocks of tables and indexes that were touched, in memory or not. */
  blocks: number;
}

export interface Scan {
  /** `Index Scan`, `Seq Scan`, … */
  type: string;
  relation: string;
  /** The index as the migrations name it, of which that of a partition is a part; absent where none was used. */
  index?: string;
}

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Loops': number;
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  Plans?: PlanNode[];
}

/**
 * The very statements of the product, run by it and explained by Postgres while they run: what its repositories do on
 * `source` between two calls of `executed`.
 */
export interface Explained {
  source: DataSource;
  /** What has been executed since the last call. */
  executed(): Promise<Executed[]>;
  close(): Promise<void>;
}

/**
 * One connection, with the service's own settings. The server must have auto_explain (PostgreSQL's contrib modules), and
 * the user be a superuser.
 * @param planCacheMode `auto` for statements without a name, which are planned for their values at every call;
 *   `force_generic_plan` for those that have one, as Postgres sooner or later plans them
 */
export async function openExplained(
  url: string,
  planCacheMode: 'auto' | 'force_generic_plan',
): Promise<Explained> {
  const options = dataSourceOptions(url, 1) as DataSourceOptions & { extra: { options: string } };
  const settings = {
    plan_cache_mode: planCacheMode,
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': 0,
    'auto_explain.log_level': 'notice',
    'auto_explain.log_format': 'json',
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_buffers': 'on',
    'auto_explain.log_timing': 'off',
  };
  const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const extra = {
    ...options.extra,
    options: [options.extra.options, ...flags].join(' '),
    idleTimeoutMillis: 0, // its plans are to be kept
  };
  const source = await new DataSource({ ...options, extra }).initialize();

  const plans: { 'Query Text': string; Plan: PlanNode }[] = [];
  const client = await (source.driver as unknown as { master: Pool }).master.connect();
  client.on('notice', ({ message = '' }) => {
    const start = message.indexOf('{');
    if (start >= 0) plans.push(JSON.parse(message.slice(start)));
  });
  client.release();
  return {
    source,
    executed: async () => {
      const taken = plans.splice(0);
      const parents = await indexParents(source);
      plans.length = 0; // the question itself
      return taken.map(({ 'Query Text': text, Plan: plan }) => ({
        text,
        scans: nodesOf(plan)
          .filter((node) => node['Relation Name'] !== undefined || node['Index Name'] !== undefined)
          .filter((node) => node['Actual Loops'] > 0 && node['Node Type'] !== 'ModifyTable')
          .map((node) => scanOf(node, parents)),
        blocks: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'],
      }));
    },
    close: () => source.destroy(),
  };
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

function scanOf(node: PlanNode, parents: Map<string, { index: string; table: string }>): Scan {
  const name = node['Index Name'];
  if (name === undefined) return { type: node['Node Type'], relation: node['Relation Name']! };
  const { index, table } = parents.get(name) ?? { index: name, table: '' };
  return { type: node['Node Type'], relation: node['Relation Name'] ?? table, index };
}

/** By the name of each index: its table, and the index that it is a part of, if it is one of a partition. */
async function indexParents(source: DataSource): Promise<Map<string, { index: string; table: string }>> {
  const rows: { name: string; index: string; table: string }[] = await source.query(
    `select i.indexrelid::regclass::text as name, i.indrelid::regclass::text as table,
            coalesce(h.inhparent, i.indexrelid)::regclass::text as index
     from pg_index i left join pg_inherits h on h.inhrelid = i.indexrelid
     where i.indrelid::regclass::text not like 'pg_%'`,
  );
  return new Map(rows.map(({ name, ...rest }) => [name, rest]));
}
