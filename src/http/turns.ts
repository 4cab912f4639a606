/** Who waits for a turn. */
interface Waiting {
  start: () => void;
  /** Whether the client that asked for it is gone. */
  isGone: () => boolean;
}

interface Line {
  running: number;
  /** The first in line first. */
  waiting: Waiting[];
}

/** Lets so many of each holder run at once; the others wait, first come, first served. Does not remember idle holders. */
export class Turns {
  private readonly lines = new Map<string, Line>();

  constructor(
    private readonly atOnce: number,
    private readonly maxWaiting: number,
  ) {}

  /** How many holders have a request that runs or waits. */
  get busy(): number {
    return this.lines.size;
  }

  /**
   * Starts it now or later; not at all when it is gone by then. Each that was started has to {@link end}.
   * @returns false when it neither runs nor waits, because too many wait already
   */
  take(holder: string, request: Waiting): boolean {
    let line = this.lines.get(holder);
    if (!line) this.lines.set(holder, (line = { running: 0, waiting: [] }));
    if (line.running < this.atOnce) {
      line.running++;
      request.start();
      return true;
    }
    if (line.waiting.length >= this.maxWaiting) line.waiting = line.waiting.filter(({ isGone }) => !isGone());
    if (line.waiting.length >= this.maxWaiting) return false;
    line.waiting.push(request);
    return true;
  }

  /** Gives the turn of one that was started to the next. */
  end(holder: string): void {
    const line = this.lines.get(holder);
    if (!line) throw new Error('A turn ended that no holder had');
    for (let next = line.waiting.shift(); next; next = line.waiting.shift()) {
      if (next.isGone()) continue;
      next.start();
      return;
    }
    line.running--;
    if (line.running === 0) this.lines.delete(holder);
  }
}
