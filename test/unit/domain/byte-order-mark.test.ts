import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asUtf8, markedEncoding, withoutMark } from '../../../src/domain/byte-order-mark.js';

const utf16be = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le').swap16();
const utf16le = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le');

describe('byte order marks', () => {
  it.each<[string, Buffer, string | null]>([
    ['UTF-8', Buffer.from('\ufeff{}'), 'UTF-8'],
    ['UTF-16BE', utf16be('{}'), 'UTF-16BE'],
    ['UTF-16LE', utf16le('{}'), 'UTF-16LE'],
    ['UTF-32BE', Buffer.from([0, 0, 0xfe, 0xff, 0, 0, 0, 0x7b]), 'UTF-32BE'],
    ['UTF-32LE', Buffer.from([0xff, 0xfe, 0, 0, 0x7b, 0, 0, 0]), 'UTF-32LE'],
    ['nothing', Buffer.from('{}'), null],
    ['part of a mark', Buffer.from([0xef, 0xbb]), null],
    ['no bytes', Buffer.alloc(0), null],
    ['a mark later on', Buffer.from('{\ufeff}'), null],
  ])('name %s', (_, text, encoding) => expect(markedEncoding(text)).toBe(encoding));

  it('are taken off once, and nothing else is', () => {
    expect(withoutMark(Buffer.from('\ufeff\ufeffa')).toString()).toBe('\ufeffa');
    expect(withoutMark(utf16le('a'))).toEqual(utf16le('a'));
  });

  it('lead to the same text in every encoding that is read', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        for (const marked of [Buffer.from(`\ufeff${text}`), utf16be(text), utf16le(text)]) {
          const before = Buffer.from(marked);
          expect(asUtf8(marked).toString()).toBe(text);
          expect(marked).toEqual(before);
        }
      }),
    );
  });
});
