import { expect, it } from 'vitest';
import { Turns } from '../../../src/http/turns.js';

/** Requests by name that note when they start, and say that they are gone when they are in `gone`. */
function stage(atOnce: number, maxWaiting: number) {
  const turns = new Turns(atOnce, maxWaiting);
  const started: string[] = [];
  const gone = new Set<string>();
  const take = (name: string, holder = 'a') =>
    turns.take(holder, { start: () => started.push(name), isGone: () => gone.has(name) });
  return { turns, started, gone, take };
}

it('lets as many of a holder run as there are turns, and the others in the order in which they came', () => {
  const { turns, started, take } = stage(2, 10);
  for (const name of ['1', '2', '3', '4', '5']) expect(take(name)).toBe(true);
  expect(started).toEqual(['1', '2']);
  turns.end('a');
  expect(started).toEqual(['1', '2', '3']);
  turns.end('a');
  turns.end('a');
  expect(started).toEqual(['1', '2', '3', '4', '5']);
});

it('lets nobody wait for another holder', () => {
  const { started, take } = stage(1, 10);
  take('1');
  take('2');
  take('other', 'b');
  expect(started).toEqual(['1', 'other']);
});

it('refuses who finds too many waiting', () => {
  const { turns, started, take } = stage(1, 2);
  expect(['1', '2', '3', '4'].map((name) => take(name))).toEqual([true, true, true, false]);
  turns.end('a');
  expect(take('5')).toBe(true);
  turns.end('a');
  turns.end('a');
  expect(started).toEqual(['1', '2', '3', '5']);
});

it('passes over who is gone, and gives its place to another', () => {
  const { turns, started, gone, take } = stage(1, 2);
  for (const name of ['1', '2', '3']) take(name);
  gone.add('2');
  expect(take('4')).toBe(true);
  gone.add('3');
  turns.end('a');
  expect(started).toEqual(['1', '4']);
});

it('remembers nobody who is idle', () => {
  const { turns, gone, take } = stage(2, 10);
  for (const name of ['1', '2', '3', '4']) take(name);
  take('5', 'b');
  gone.add('4');
  expect(turns.busy).toBe(2);
  for (const holder of ['a', 'b', 'a', 'a']) turns.end(holder);
  expect(turns.busy).toBe(0);
  expect(take('6')).toBe(true);
});
