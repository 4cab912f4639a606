/** A map of bounded size: beyond it, each new entry takes the place of the one that was used longest ago. */
export class LeastRecentlyUsed<Key, Value> {
  /** In the order of their last use, oldest first. */
  private readonly entries = new Map<Key, Value>();

  constructor(private readonly maxSize: number) {}

  get size(): number {
    return this.entries.size;
  }

  get(key: Key): Value | undefined {
    const value = this.entries.get(key);
    if (value === undefined) return undefined;
    this.entries.delete(key);
    this.entries.set(key, value);
    return value;
  }

  set(key: Key, value: Value): void {
    this.entries.delete(key);
    this.entries.set(key, value);
    if (this.entries.size <= this.maxSize) return;
    const [oldest] = this.entries.keys();
    this.entries.delete(oldest as Key);
  }

  [Symbol.iterator](): MapIterator<[Key, Value]> {
    return this.entries[Symbol.iterator]();
  }

  delete(key: Key): void {
    this.entries.delete(key);
  }

  clear(): void {
    this.entries.clear();
  }
}
