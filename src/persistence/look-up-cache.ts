import { type BoundedCache, boundedCache } from '../domain/bounded-cache.js';
import { Batcher } from './batcher.js';
import type { ChangeFeed } from './change-feed.js';

const MAX_ENTRIES = 10_000;
const MAX_AGE_MS = 60_000;
/** A client that goes on with a wrong name costs a query this often, and not with each request. */
const UNKNOWN_MAX_AGE_MS = 5_000;

export interface LookUpCacheOptions<Value> {
  /** What is behind each of the names that has anything; an Error fails its own name alone. */
  load: (names: string[]) => Promise<ReadonlyMap<string, Value | Error>>;
  maxNamesAQuery: number;
  /** Tables of which a change makes what is known of its tenant void. */
  tables: readonly string[];
}

/** What is behind names that clients send, without a query when warm; kept right by {@link ChangeFeed}. */
export class LookUpCache<Value extends { tenantId: string }> {
  private readonly known: BoundedCache<Value> = boundedCache(MAX_ENTRIES, { maxAgeMs: MAX_AGE_MS });
  /** Names that nothing is behind. Apart from the others, so that made-up names cannot crowd them out. */
  private readonly unknown: BoundedCache<true> = boundedCache(MAX_ENTRIES, { maxAgeMs: UNKNOWN_MAX_AGE_MS });
  private generation = 0;
  /** One query at a time for all that was asked for meanwhile: a flood of made-up names takes one connection. */
  private readonly queries: Batcher<string, Value | undefined>;

  constructor(
    private readonly changes: ChangeFeed,
    private readonly options: LookUpCacheOptions<Value>,
  ) {
    this.queries = new Batcher({
      flush: (names) => this.query(names),
      maxWeight: options.maxNamesAQuery,
      lingerMs: 0,
    });
    changes.subscribe(
      ({ table, tenantId }) => {
        if (options.tables.includes(table)) this.forget(tenantId);
      },
      () => this.forgetAll(),
    );
  }

  /** @returns undefined where nothing is behind the name; a promise only when it has to be looked up */
  find(name: string): Value | undefined | Promise<Value | undefined> {
    if (this.changes.isListening) {
      const value = this.known.get(name);
      if (value !== undefined) return value;
      if (this.unknown.has(name)) return undefined;
    }
    return this.queries.add(name);
  }

  /** Called at once by what changed a tenant in this process; other processes hear through the feed. */
  forget(tenantId: string): void {
    for (const [name, value] of this.known) if (value.tenantId === tenantId) this.known.delete(name);
    // Which of them are names of what is new is not known.
    this.unknown.clear();
    this.generation++;
  }

  private forgetAll(): void {
    this.known.clear();
    this.unknown.clear();
    this.generation++;
  }

  private async query(names: string[]): Promise<(Value | undefined | Error)[]> {
    const { generation } = this;
    const wasListening = this.changes.isListening;
    const found = await this.options.load([...new Set(names)]);
    // Read while nothing was heard, or before a change or a gap in listening, it may be out of date by now.
    if (wasListening && generation === this.generation) {
      for (const name of names) {
        const value = found.get(name);
        if (value === undefined) this.unknown.set(name, true);
        else if (!(value instanceof Error)) this.known.set(name, value);
      }
    }
    return names.map((name) => found.get(name));
  }
}

/** By name, what `read` makes of each row. One that cannot be read fails its own name alone. */
export function readEach<Row, Value>(
  rows: readonly Row[],
  nameOf: (row: Row) => string,
  read: (row: Row) => Value,
): Map<string, Value | Error> {
  return new Map(rows.map((row) => [nameOf(row), tryTo(() => read(row))]));
}

function tryTo<Value>(read: () => Value): Value | Error {
  try {
    return read();
  } catch (error) {
    return error as Error;
  }
}
