import { expect, it } from 'vitest';
import { parseHead } from '../../../src/delivery/response-head.js';

const head = (lines: string): string => `HTTP/1.1 200 OK\r\n${lines}\r\n`;

it('joins folded lines, and values of one name', () => {
  const parsed = parseHead(head('a: 1\r\n 2\r\n\t3 \r\nb:\r\n x\r\nA: 4\r\n'));
  expect([...parsed!.headers]).toEqual([
    ['a', '1 2 3, 4'],
    ['b', 'x'],
  ]);
  expect(parsed!.isOdd).toBe(true);
});

it('passes over what follows two thousand lines', () => {
  const parsed = parseHead(head('a: 1\r\n'.repeat(1_999) + 'b: 1\r\nc: 1\r\n'));
  expect([...parsed!.headers.keys()]).toEqual(['a', 'b']);
  expect(parsed!.isOdd).toBe(true);
  expect(parseHead(head('a: 1\r\n'.repeat(2_000)))!.isOdd).toBe(false);
});

/** Lines that fill a head of 64 KiB, each of which must cost about as much as one long value does. */
it.each([
  ['folded lines', 'a: 1\r\n', ' a\n'],
  ['folded lines of spaces', 'a: 1\r\n', ' \n'],
  ['one name again and again', '', 'a:b\r\n'],
  ['names of their own', '', 'a:\r\n'],
])('costs no more than its bytes: %s', (_, first, line) => {
  const hostile = head(first + line.repeat((64 * 1024) / line.length));
  const plain = head('abcdefgh: 0123456789abcdef0123456789abcdef0123456789abcdef\r\n'.repeat(1_000));
  expect(costOf(hostile) / costOf(plain)).toBeLessThan(10);
});

/** The least of several runs, so that what else the machine does counts little. */
function costOf(text: string): number {
  const runs = Array.from({ length: 15 }, () => {
    const from = process.hrtime.bigint();
    parseHead(text);
    return Number(process.hrtime.bigint() - from);
  });
  return Math.min(...runs);
}
