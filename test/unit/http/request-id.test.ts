import { expect, it } from 'vitest';
import { isUuid } from '../../../src/domain/uuid-v7.js';
import { requestId } from '../../../src/http/request-id.js';

const given = (value: string | string[]): string => requestId({ headers: { 'x-request-id': value } });

it.each([
  '1',
  'trace-me',
  '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  'Root=1-67891233-abcdef',
  'a.b_c:d/e+f=',
  'a'.repeat(128),
])('takes over %s', (id) => {
  expect(given(id)).toBe(id);
});

it.each([
  [''],
  [' '],
  ['a b'],
  ['a\nb'],
  ['a\n'],
  ['\r\nset-cookie: a=b'],
  ['a\0'],
  ['a"b'],
  ["a'b"],
  ['a\\b'],
  ['<script>'],
  ['{}'],
  ['a,b'],
  ['a;b'],
  ['a%0ab'],
  ['ä'],
  ['\u2028'],
  ['\u001b[31m'],
  ['a'.repeat(129)],
  [['a', 'b']],
])('makes a new one instead of %j', (id) => {
  expect(isUuid(given(id))).toBe(true);
});

it('makes a new one where there is none, another each time', () => {
  const ids = Array.from({ length: 100 }, () => requestId({ headers: {} }));
  expect(new Set(ids).size).toBe(100);
});
