/** The values of a statement that is put together. */
export class Parameters {
  readonly values: unknown[] = [];

  /** @returns what stands for it in the text */
  add(value: unknown, type: string): string {
    this.values.push(value);
    return `$${this.values.length}::${type}`;
  }
}
