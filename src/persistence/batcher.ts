export interface BatcherOptions<Item, Result> {
  /** Works off a batch; answers in its order. An Error fails its item, throwing fails all. */
  flush: (items: Item[]) => Promise<(Result | Error)[]>;
  /** How much a batch may weigh; an item that is heavier goes alone. */
  maxWeight: number;
  /** 1 for every item, unless given. */
  weigh?: (item: Item) => number;
  /** How long the first item of a batch waits for company, if the batch before had any. */
  lingerMs: number;
}

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

/**
 * Gathers what concurrent callers ask for into few statements (group commit). One batch is flushed at a time; while it
 * is, items pile up to a larger next one, so the batch size follows the load. An item that comes alone, after one that
 * came alone, is not kept waiting.
 */
export class Batcher<Item, Result> {
  private waiting: Waiting<Item, Result>[] = [];
  private weight = 0;
  private isFlushing = false;
  private hadCompany = false;
  /** Takes back the flush that is about to begin. */
  private unschedule: (() => void) | undefined;

  constructor(private readonly options: BatcherOptions<Item, Result>) {}

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      this.weight += this.weigh(item);
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.isFlushing || this.waiting.length === 0) return;
    if (this.weight >= this.options.maxWeight) this.flush();
    else this.unschedule ??= this.flushSoon();
  }

  private flushSoon(): () => void {
    if (this.hadCompany && this.options.lingerMs > 0) {
      const timer = setTimeout(() => this.flush(), this.options.lingerMs);
      return () => clearTimeout(timer);
    }
    const immediate = setImmediate(() => this.flush());
    return () => clearImmediate(immediate);
  }

  private flush(): void {
    this.unschedule?.();
    this.unschedule = undefined;
    this.isFlushing = true;
    const batch = this.takeBatch();
    this.hadCompany = batch.length > 1;
    void this.settle(batch).finally(() => {
      this.isFlushing = false;
      this.schedule();
    });
  }

  private takeBatch(): Waiting<Item, Result>[] {
    let count = 0;
    let weight = 0;
    for (const { item } of this.waiting) {
      const more = weight + this.weigh(item);
      if (count > 0 && more > this.options.maxWeight) break;
      weight = more;
      count++;
    }
    this.weight -= weight;
    return this.waiting.splice(0, count);
  }

  private weigh(item: Item): number {
    return this.options.weigh?.(item) ?? 1;
  }

  private async settle(batch: Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.options.flush(batch.map(({ item }) => item));
      batch.forEach(({ resolve, reject }, index) => {
        const result = results[index] as Result | Error;
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
