import { expect, it } from 'vitest';
import { hiddenCharacter } from '../../../src/domain/hidden-characters.js';

it.each([
  ['right-to-left override', 'invoice\u202Egpj.exe', 'U+202E'],
  ['left-to-right mark', 'a\u200Eb', 'U+200E'],
  ['isolate', '\u2066a', 'U+2066'],
  ['zero-width space', 'pay\u200Bpal', 'U+200B'],
  ['word joiner', 'a\u2060b', 'U+2060'],
  ['byte order mark', '\uFEFFa', 'U+FEFF'],
  ['soft hyphen', 'pay\u00ADpal', 'U+00AD'],
  ['line separator', 'a\u2028b', 'U+2028'],
  ['paragraph separator', 'a\u2029b', 'U+2029'],
  ['tag letter', 'a\u{E0061}', 'U+E0061'],
  ['NUL', 'a\0b', 'U+0000'],
  ['escape', '\u001B[31m', 'U+001B'],
  ['C1 control', 'a\u0085b', 'U+0085'],
  ['half of a pair', 'a\uD83Db', 'U+D83D'],
  ['Hangul filler', '\u3164', 'U+3164'],
  ['joiner in Latin', 'pay\u200Dpal', 'U+200D'],
  ['joiner at the end', 'می\u200C', 'U+200C'],
  ['two joiners', 'می\u200C\u200Cخواهم', 'U+200C'],
])('finds a %s', (_, text, found) => {
  expect(hiddenCharacter(text)).toBe(found);
});

it.each([
  'Zürich — «café»',
  'line one\r\n\tline two',
  'می\u200Cخواهم',
  'क्\u200Dष',
  '👩\u200D💻 ❤\uFE0F',
  '日本語',
  '',
])('has nothing against %j', (text) => {
  expect(hiddenCharacter(text)).toBeNull();
});
