const WIDTH = 30;

/** Shows how far something is: redrawn in place on a terminal, elsewhere one line when it ends. */
export class ProgressBar {
  private done = 0;

  constructor(
    private readonly label: string,
    private readonly total: number,
    private readonly output: NodeJS.WriteStream = process.stderr,
  ) {
    this.draw();
  }

  update(done: number): void {
    this.done = done;
    this.draw();
  }

  /** Leaves the last state standing, complete or not. */
  end(): void {
    this.output.write(this.output.isTTY ? '\n' : `${this.text()}\n`);
  }

  private draw(): void {
    if (this.output.isTTY) this.output.write(`\r${this.text()}`);
  }

  private text(): string {
    const share = this.total === 0 ? 1 : Math.min(this.done / this.total, 1);
    const filled = Math.floor(share * WIDTH);
    const bar = '#'.repeat(filled) + '-'.repeat(WIDTH - filled);
    return `${this.label.padEnd(12)} [${bar}] ${this.done}/${this.total}`;
  }
}
