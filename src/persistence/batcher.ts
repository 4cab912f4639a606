export interface BatcherOptions<Item, Result> {
  /** Works off up to `maxItems` items at once; answers in their order. An Error fails its item, throwing fails all. */
  flush: (items: Item[]) => Promise<(Result | Error)[]>;
  maxItems: number;
  /** How long the first item of a batch may wait for company. */
  lingerMs: number;
}

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

/**
 * Gathers what concurrent callers ask for into few statements (group commit). One batch is flushed at a time; while it
 * is, items pile up to a larger next one, so the batch size follows the load.
 */
export class Batcher<Item, Result> {
  private waiting: Waiting<Item, Result>[] = [];
  private isFlushing = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: BatcherOptions<Item, Result>) {}

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.isFlushing || this.waiting.length === 0) return;
    if (this.waiting.length >= this.options.maxItems) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), this.options.lingerMs);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.isFlushing = true;
    void this.settle(this.waiting.splice(0, this.options.maxItems)).finally(() => {
      this.isFlushing = false;
      this.schedule();
    });
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
