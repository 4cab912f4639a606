import { join } from 'node:path';
import { aligned, whole } from './report.js';

/** The arithmetic of docs/capacity.md: from what one delivery costs to the machines for so many a second. */

export const DOCUMENT_OF_CAPACITY = join('docs', 'capacity.md');

/** What one delivery of one event costs. */
export interface Costs {
  command: string;
  machine: string;
  payloadBytes: number;
  deliveries: number;
  /** Microseconds of CPU time a delivery. */
  cpu: { api: number; worker: number; postgres: number; redis: number };
  walBytes: number;
  /** In tables and indexes. */
  storedBytes: { event: number; delivery: number; attempt: number; key: number };
  transactions: number;
  redisCommands: number;
}

/** What a machine is planned with. */
const PLAN = {
  /** Of a core; the rest is for peaks, for garbage collection and for the day on which one machine is missing. */
  useOfACore: 0.6,
  retentionHours: 72,
  /** A day's partition is dropped whole, when its last event has had its time. */
  hoursBeyondRetention: 24,
  poolSize: 10,
  /** The connection that listens for changes. */
  connectionsBesidePool: 1,
  readPoolSize: 4,
  /** Beyond the payload, on the wire to a subscriber: head, signature, TLS and TCP. */
  headBytes: 900,
};

const RATES = [1_000, 10_000, 100_000];

export function capacitySection(costs: Costs): string {
  return `\`${costs.command}\` on ${costs.machine}, ${whole(costs.deliveries)} deliveries:

${inputs(costs)}
With ${PLAN.useOfACore * 100} % of a core in use, ${PLAN.retentionHours} hours of retention and up to ${PLAN.hoursBeyondRetention} more until a day is dropped, a pool of ${PLAN.poolSize} connections and ${PLAN.headBytes} bytes of head and framing a request, that makes:

${machines(costs)}`;
}

function inputs({ payloadBytes, cpu, walBytes, storedBytes, transactions, redisCommands }: Costs): string {
  return aligned([
    ['what one delivery costs', 'letter', 'measured'],
    ['payload, bytes (given)', 'P', whole(payloadBytes)],
    ['CPU of api processes, µs', 'A', whole(cpu.api)],
    ['CPU of worker processes, µs', 'W', whole(cpu.worker)],
    ['CPU of PostgreSQL, µs', 'G', whole(cpu.postgres)],
    ['CPU of Redis, µs', 'R', whole(cpu.redis)],
    ['write-ahead log, bytes', 'L', whole(walBytes)],
    ['event with its payload, bytes with indexes', 'E', whole(storedBytes.event)],
    ['delivery, bytes with indexes', 'D', whole(storedBytes.delivery)],
    ['attempt, bytes with indexes', 'T', whole(storedBytes.attempt)],
    ['idempotency key, bytes with indexes', 'K', whole(storedBytes.key)],
    ['transactions', 'X', transactions.toFixed(3)],
    ['Redis commands', 'C', redisCommands.toFixed(3)],
  ]);
}

type Row = [name: string, formula: string, cell: (perSecond: number) => string];

function machines(costs: Costs): string {
  const { cpu, storedBytes } = costs;
  const cores = (micros: number) => (perSecond: number) => (perSecond * micros) / 1e6 / PLAN.useOfACore;
  const processes = (micros: number) => (perSecond: number) =>
    Math.max(Math.ceil(cores(micros)(perSecond)), 2);
  const [apis, workers] = [processes(cpu.api), processes(cpu.worker)];
  const keptSeconds = (PLAN.retentionHours + PLAN.hoursBeyondRetention) * 3_600;
  const stored = storedBytes.event + storedBytes.delivery + storedBytes.attempt + storedBytes.key;
  const all = (perSecond: number) => apis(perSecond) + workers(perSecond) + 2;
  const share = `${PLAN.useOfACore}`;
  const rows: Row[] = [
    ['api processes, a core each', `N × A ÷ ${share} s, 2 at least`, (n) => whole(apis(n))],
    ['worker processes, a core each', `N × W ÷ ${share} s, 2 at least`, (n) => whole(workers(n))],
    ['scheduler processes', '2, of which one works', () => '2'],
    ['PostgreSQL, cores', `N × G ÷ ${share} s`, (n) => tenths(cores(cpu.postgres)(n))],
    ['Redis, cores (a server uses one)', `N × R ÷ ${share} s`, (n) => tenths(cores(cpu.redis)(n))],
    ['Redis commands a second', 'N × C', (n) => whole(n * costs.redisCommands)],
    ['write-ahead log, MB/s', 'N × L', (n) => tenths((n * costs.walBytes) / 1e6)],
    ['transactions a second', 'N × X', (n) => whole(n * costs.transactions)],
    ['rows of deliveries kept, millions', 'N × 96 h', (n) => whole((n * keptSeconds) / 1e6)],
    [
      'tables and indexes, TB',
      'N × 96 h × (E + D + T + K)',
      (n) => tenths((n * keptSeconds * stored) / 1e12),
    ],
    [
      'the same, payload not counted, TB',
      'N × 96 h × (E − P + D + T + K)',
      (n) => tenths((n * keptSeconds * (stored - costs.payloadBytes)) / 1e12),
    ],
    [
      'connections to PostgreSQL, at most',
      `processes × ${PLAN.poolSize + PLAN.connectionsBesidePool} + api × ${PLAN.readPoolSize}`,
      (n) => whole(all(n) * (PLAN.poolSize + PLAN.connectionsBesidePool) + apis(n) * PLAN.readPoolSize),
    ],
    [
      'to subscribers, Mbit/s',
      `N × (P + ${PLAN.headBytes}) × 8`,
      (n) => whole((n * (costs.payloadBytes + PLAN.headBytes) * 8) / 1e6),
    ],
  ];
  return aligned([
    ['deliveries a second (N)', 'how', ...RATES.map(whole)],
    ...rows.map(([name, formula, cell]) => [name, formula, ...RATES.map(cell)]),
  ]);
}

const tenths = (value: number): string => (value >= 100 ? whole(value) : value.toFixed(1));
