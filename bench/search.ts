import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, statfsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import 'reflect-metadata';
import { request } from 'undici';
import { AppModule } from '../src/app.module.js';
import { loadConfig } from '../src/config/config.js';
import { startEmbeddedPostgres } from '../src/embedded/embedded-postgres.js';
import { createLogger } from '../src/observability/logger.js';
import { SearchRepository } from '../src/persistence/repositories/search.repository.js';
import { migrate } from '../src/persistence/migrate.js';
import { createServer } from '../src/server.js';
import { writeSection } from './document.js';
import { aligned, machine, whole } from './report.js';
import { seedForSearch, SOURCES, TYPES } from './search-seed.js';
import { tellProgress } from './seed.js';
import { Closers } from './stand.js';

const USAGE = `Usage: npm run bench:search -- [options]

  --deliveries NUMBER   to be in the tables, 5000000 by default: 8 GB of disk
  --draws NUMBER        of each filter, 200 by default
  --write               write the table to docs/search.md
  --help

  TMPDIR is where the embedded PostgreSQL has its data.
`;
const DOCUMENT = join('docs', 'search.md');
const BYTES_A_DELIVERY = 1_600;
const HOUR_MS = 3_600_000;
const SPAN_MS = 72 * HOUR_MS;
const ADMIN_KEY = 'admin-key-of-the-benchmark';

const closers = new Closers();
const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** What is known of a delivery, from which the values of filters are drawn: so each finds something. */
interface Known {
  subscription_id: string;
  event_type: string;
  event_id: string;
  idempotency_key: string;
  customer: string;
  at: Date;
}

interface Filter {
  name: string;
  /** The body of a search, or the path of a list. */
  ask: (known: Known) => object | string;
  /** How many draws, where not all. */
  draws?: number;
}

const from = ({ at }: Known, hours: number) => ({
  from: new Date(at.getTime() - (hours * HOUR_MS) / 2).toISOString(),
  to: new Date(at.getTime() + (hours * HOUR_MS) / 2).toISOString(),
});
const source = (): string => SOURCES[Math.floor(Math.random() * SOURCES.length)]!;
const anyType = (): string => {
  const type = 1 + Math.floor(Math.random() * TYPES);
  return `group${type % 10}.type${type}`;
};
const customer = (known: Known) => [{ path: 'order.customer.id', equals: known.customer }];

const FILTERS: Filter[] = [
  { name: 'nothing', ask: () => ({}) },
  { name: '`status: "dead"`', ask: () => ({ status: 'dead' }) },
  { name: '`status: "retrying"`', ask: () => ({ status: 'retrying' }) },
  { name: '`status: "pending"`', ask: () => ({ status: 'pending' }) },
  { name: '`status: "cancelled"`', ask: () => ({ status: 'cancelled' }) },
  {
    name: '`status: ["dead", "cancelled", "retrying"]`',
    ask: () => ({ status: ['dead', 'cancelled', 'retrying'] }),
  },
  { name: '`status: "delivered"`', ask: () => ({ status: 'delivered' }) },
  { name: '`event_type`, any of the 200', ask: () => ({ event_type: anyType() }) },
  { name: '`event_type`, three of them', ask: () => ({ event_type: [anyType(), anyType(), anyType()] }) },
  {
    name: '`event_type: "group3.*"`, 20 types',
    ask: (known) => ({ event_type: `${known.event_type.split('.')[0]}.*` }),
  },
  { name: '`subscription_id`', ask: (known) => ({ subscription_id: known.subscription_id }) },
  { name: '`source_id`', ask: () => ({ source_id: source() }) },
  { name: '`from`, `to`: an hour', ask: (known) => from(known, 1) },
  { name: '`idempotency_key`', ask: (known) => ({ idempotency_key: known.idempotency_key }) },
  { name: '`event_id`', ask: (known) => ({ event_id: known.event_id }) },
  { name: '`status_code: 404`', ask: () => ({ status_code: 404 }) },
  { name: '`status_code: "5xx"`', ask: () => ({ status_code: '5xx' }) },
  { name: '`error: "refused"`', ask: () => ({ error: 'refused' }) },
  {
    name: '`event_type` and `status: "dead"`',
    ask: (known) => ({ event_type: known.event_type, status: 'dead' }),
  },
  {
    name: '`event_type` and `status_code: "5xx"`',
    ask: () => ({ event_type: anyType(), status_code: '5xx' }),
  },
  { name: '`event_type` and an hour', ask: (known) => ({ event_type: known.event_type, ...from(known, 1) }) },
  {
    name: '`subscription_id` and `status: "retrying"`',
    ask: (known) => ({ subscription_id: known.subscription_id, status: 'retrying' }),
  },
  {
    name: '`subscription_id` and `event_type`',
    ask: (known) => ({ subscription_id: known.subscription_id, event_type: known.event_type }),
  },
  { name: '`source_id` and `status: "dead"`', ask: () => ({ source_id: source(), status: 'dead' }) },
  { name: '`payload` and an hour', ask: (known) => ({ payload: customer(known), ...from(known, 1) }) },
  {
    name: '`payload` and `event_type`',
    ask: (known) => ({ payload: customer(known), event_type: anyType() }),
  },
  { name: '`payload` and `status: "dead"`', ask: (known) => ({ payload: customer(known), status: 'dead' }) },
  { name: '`payload` alone', ask: (known) => ({ payload: customer(known) }), draws: 20 },
  { name: '`status_code: 204`', ask: () => ({ status_code: 204 }) },
  { name: '`status: "delivered"` and `error`', ask: () => ({ status: 'delivered', error: 'refused' }) },
  { name: '`GET /deliveries?event_type=`', ask: () => `/deliveries?event_type=${anyType()}` },
  { name: '`GET /deliveries?status=cancelled`', ask: () => '/deliveries?status=cancelled' },
  {
    name: '`GET /deliveries?subscription_id=&status=retrying`',
    ask: (known) => `/deliveries?subscription_id=${known.subscription_id}&status=retrying`,
  },
  { name: '`GET /events?event_type=`', ask: () => `/events?event_type=${anyType()}` },
  { name: '`GET /events?source_id=`', ask: () => `/events?source_id=${source()}` },
];

interface Figures {
  name: string;
  indexes: string[];
  p50: number;
  p95: number;
  max: number;
  /** Share of the answers that were complete, and of the counts that were. */
  complete: number;
  exact: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      deliveries: { type: 'string', default: '5000000' },
      draws: { type: 'string', default: '200' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const [deliveries, draws] = [Number(values.deliveries), Number(values.draws)];
  const { bavail, bsize } = statfsSync(tmpdir());
  if (bavail * bsize < deliveries * BYTES_A_DELIVERY) throw new Error(`${tmpdir()} has too little room.`);

  const folder = mkdtempSync(join(tmpdir(), 'posthorn-search-'));
  chmodSync(folder, 0o711); // PostgreSQL may run as another user than this process
  closers.add(() => rm(folder, { recursive: true, force: true }));
  const postgres = await startEmbeddedPostgres({
    dataDir: join(folder, 'data'),
    log: () => undefined,
    durable: true,
  });
  closers.add(() => postgres.stop());
  await migrate(postgres.url);
  const database = new pg.Pool({ connectionString: postgres.url, max: 4 });
  database.on('error', () => undefined);
  closers.add(() => database.end());

  const config = loadConfig({
    HOST: '127.0.0.1',
    PORT: '0',
    DATABASE_URL: postgres.url,
    ADMIN_API_KEY: ADMIN_KEY,
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    LOG_LEVEL: 'silent',
    RETENTION_HOURS: '240',
    TENANT_RATE_LIMIT: '1000000',
    TENANT_RATE_BURST: '10000000',
  });
  const logger = createLogger(config.logLevel, config.role);
  const app = await createServer(AppModule.forRole(config, logger), config, logger);
  await app.listen(0, '127.0.0.1');
  closers.add(() => app.close());
  const url = `${await app.getUrl()}/api/v1`;
  const { id: tenantId, api_key: key } = await post<{ id: string; api_key: string }>(
    `${url}/tenants`,
    ADMIN_KEY,
    {
      name: 'who searches',
    },
  );

  const now = Date.now();
  const seededAt = performance.now();
  say(`Filling the tables with ${whole(deliveries)} deliveries …`);
  await seedForSearch(
    database,
    postgres.url,
    { deliveries, fromMs: now - SPAN_MS, toMs: now, tenantId },
    tellProgress(deliveries, say),
  );
  const seedSeconds = (performance.now() - seededAt) / 1_000;
  say(`Filled in ${Math.round(seedSeconds)} s; the load is ${loadavg()[0]?.toFixed(1)}.`);

  const known = await draw(database, tenantId, draws);
  const indexes = watchIndexes();
  const figures: Figures[] = [];
  for (const filter of FILTERS.filter(({ name }) => name.includes(values.only))) {
    indexes.clear();
    figures.push(await measure(filter, known.slice(0, filter.draws ?? draws), { url, key, indexes }));
    const { name, p50, p95, max, complete } = figures.at(-1)!;
    say(
      `  ${name}: ${p50} / ${p95} / ${max} ms, ${Math.round(complete * 100)} % complete, ${[...indexes].join(', ')}`,
    );
  }
  const { rows } = await database.query<{ postgres: string; fsync: string }>(
    `select current_setting('server_version') as postgres, current_setting('fsync') as fsync`,
  );
  const shown = process.argv.slice(2).filter((word) => word !== '--write');
  const command = ['npm run bench:search', ...(shown.length > 0 ? ['--', ...shown] : [])].join(' ');
  const section = `\`${command}\` on ${machine({ versions: { ...rows[0]!, redis: 'none' } })}; ${whole(deliveries)} deliveries of three days, four of five of them of the tenant that searches, written in ${whole(seedSeconds)} s. ${draws} requests of each filter, one after another, with values of deliveries drawn at random, over HTTP:\n\n${table(figures)}`;
  process.stdout.write(`${section}\n`);
  if (values.write) writeSection('figures', section, DOCUMENT);
}

async function measure(
  { name, ask }: Filter,
  known: Known[],
  { url, key, indexes }: { url: string; key: string; indexes: Set<string> },
): Promise<Figures> {
  const times: number[] = [];
  let complete = 0;
  let exact = 0;
  for (const one of known) {
    const asked = ask(one);
    const startedAt = performance.now();
    const answer =
      typeof asked === 'string'
        ? await get<Answer>(`${url}${asked}`, key)
        : await post<Answer>(`${url}/webhooks/search`, key, asked);
    times.push(performance.now() - startedAt);
    if (answer.is_complete ?? (answer.data.length === 50 || answer.next_cursor === null)) complete++;
    if (answer.aggregations?.is_exact) exact++;
  }
  const sorted = times.sort((a, b) => a - b);
  const at = (share: number) => Math.round((sorted[Math.ceil(sorted.length * share) - 1] ?? NaN) * 10) / 10;
  return {
    name,
    indexes: [...indexes],
    p50: at(0.5),
    p95: at(0.95),
    max: at(1),
    complete: complete / known.length,
    exact: exact / known.length,
  };
}

interface Answer {
  data: unknown[];
  next_cursor: string | null;
  is_complete?: boolean;
  aggregations?: { is_exact: boolean } | null;
}

/** Which indexes the searches walk, from now on. */
function watchIndexes(): Set<string> {
  const walked = new Set<string>();
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called on what it is called on
  const { search } = SearchRepository.prototype;
  SearchRepository.prototype.search = async function (...given) {
    const page = await search.apply(this, given);
    walked.add(page.index);
    return page;
  };
  return walked;
}

/** Spread over all three days. */
async function draw(database: pg.Pool, tenantId: string, count: number): Promise<Known[]> {
  const { rows } = await database.query<Known>(
    `select d.subscription_id, d.event_type, d.event_id, e.idempotency_key, e.received_at as at,
            convert_from(e.payload, 'UTF8')::json #>> '{order,customer,id}' as customer
     from (select min(received_at) as first, max(received_at) as last from event) span
     cross join generate_series(1, $2) as n
     cross join lateral (select (lpad(to_hex((extract(epoch from span.first + (span.last - span.first) * random() * (n - n + 1)) * 1000)::bigint), 12, '0') || '70008000000000000000') as hex) t
     cross join lateral (
       select * from delivery d where (d.tenant_id, d.id) >= ($1, t.hex::uuid) order by d.tenant_id, d.id limit 1
     ) d join event e on e.id = d.event_id`,
    [tenantId, count],
  );
  return rows;
}

const get = <T>(url: string, key: string): Promise<T> =>
  send<T>(url, { method: 'GET', headers: { 'x-api-key': key } });

const post = <T>(url: string, key: string, body: object): Promise<T> =>
  send<T>(url, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

async function send<T>(url: string, options: Parameters<typeof request>[1]): Promise<T> {
  const { statusCode, body } = await request(url, options);
  const text = await body.text();
  if (statusCode >= 300) throw new Error(`${url} was answered ${statusCode} ${text}`);
  return JSON.parse(text) as T;
}

function table(figures: Figures[]): string {
  const percent = (share: number) => `${Math.round(share * 100)} %`;
  return aligned([
    ['filter', 'walks', 'p50, ms', 'p95, ms', 'max, ms', 'pages complete'],
    ...figures.map(({ name, indexes, p50, p95, max, complete }) => [
      name,
      indexes
        .map((index) =>
          index
            .split(', ')
            .map((one) => `\`${one}\``)
            .join(', '),
        )
        .join(' or ') || 'as the search',
      String(p50),
      String(p95),
      String(max),
      percent(complete),
    ]),
  ]);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => void closers.close().finally(() => process.exit(130)));
}
try {
  await main();
  await closers.close();
  process.exit(0);
} catch (error) {
  say(`The benchmark FAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  await closers.close();
  process.exit(1);
}
