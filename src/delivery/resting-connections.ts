/** A connection whose answer has ended. */
export interface Resting {
  /** Its socket has been read once more since. */
  endRest: () => void;
}

/**
 * Lets connections rest for a whole turn of the event loop, in which their sockets are read: from the end of one turn to
 * the end of the next one. All of a process rest in the same two lists, so that a turn costs one immediate.
 *
 * Turns are not made for it, but waited for: measured with 500 subscribers, to have the loop turn once more for each
 * answer costs a fifth of the CPU of a POST. Only when an exchange waits for a connection, the loop is made to turn.
 */
export class RestingConnections {
  /** Those of this turn: its sockets have been read already, or are about to be. */
  private joined: Resting[] = [];
  /** Those of the turn before. */
  private resting: Resting[] = [];
  private immediate: NodeJS.Immediate | null = null;
  /** How many turns are made rather than waited for. */
  private hurriedTurns = 0;

  add(connection: Resting): void {
    this.joined.push(connection);
    if (this.immediate === null) this.schedule();
  }

  /** Something waits for one of them. */
  hurry(): void {
    this.hurriedTurns = 2;
    this.immediate?.ref();
  }

  private schedule(): void {
    // Immediates run at the end of a turn, when its sockets have been read.
    this.immediate = setImmediate(() => this.endTurn());
    if (this.hurriedTurns === 0) this.immediate.unref();
    else this.hurriedTurns -= 1;
  }

  private endTurn(): void {
    const rested = this.resting;
    this.resting = this.joined;
    this.joined = [];
    this.immediate = null;
    if (this.resting.length > 0) this.schedule();
    for (const connection of rested) connection.endRest();
  }
}
