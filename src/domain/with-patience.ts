/**
 * The answer, if it comes within `patienceMs`. Where this process itself was held up for so long, an answer that has
 * come meanwhile is read first, and counts.
 *
 * @throws Error naming who did not answer
 */
export function withPatience<T>(answer: Promise<T>, patienceMs: number, who: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(new Error(`${who} did not answer within ${patienceMs} ms`));
    // Timers come before sockets in a turn of the event loop, and setImmediate after them.
    const timer = setTimeout(() => setImmediate(giveUp), patienceMs);
    void answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
