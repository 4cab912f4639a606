import { stat } from 'node:fs';
import { expect, it } from 'vitest';
import { RestingConnections } from '../../../src/delivery/resting-connections.js';

it('each connection rests until sockets have been read once more, whichever others rest with it', async () => {
  let turn = 0;
  let isOver = false;
  // Runs before all other immediates of a turn, since it was the first.
  const countTurns = () => {
    turn += 1;
    if (!isOver) setImmediate(countTurns);
  };
  setImmediate(countTurns);

  const resting = new RestingConnections();
  const rests: number[] = [];
  await new Promise<void>((resolve) => {
    let added = 0;
    /** Called where sockets are read. */
    const addOne = () => {
      const addedAt = turn;
      resting.add({
        endRest: () => {
          rests.push(turn - addedAt);
          if (rests.length === 200) resolve();
        },
      });
      added += 1;
      if (added < 200) stat('.', addOne);
    };
    stat('.', addOne);
  });
  isOver = true;

  // The first turn that was counted is that in which it was added.
  expect(Math.min(...rests)).toBe(2);
});
