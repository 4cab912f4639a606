/**
 * Runs before the program in a process of the fault suite, which tells it over IPC by how many milliseconds its wall
 * clock is wrong. Timers and performance.now() are monotonic, as they are when a real clock jumps. Must import nothing:
 * it is transpiled by itself.
 */
const RealDate = Date;
let offsetMs = 0;

process.on('message', (message: { offsetMs: number }) => {
  offsetMs = message.offsetMs;
});
// Whoever started this process is gone; otherwise the channel keeps nothing alive.
process.once('disconnect', () => process.exit(1));
process.channel?.unref();

class ShiftedDate extends RealDate {
  constructor(...values: [] | [number]) {
    if (values.length === 0) super(RealDate.now() + offsetMs);
    else super(...values);
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
}

globalThis.Date = new Proxy(ShiftedDate, {
  apply: () => new ShiftedDate().toString(),
}) as unknown as DateConstructor;

// Without an import or export this would be a script, whose names are global.
export {};
