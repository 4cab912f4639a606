/** The encodings whose mark is known, the longer marks first: that of UTF-32LE begins with that of UTF-16LE. */
const MARKS = [
  { encoding: 'UTF-32BE', mark: Buffer.from([0x00, 0x00, 0xfe, 0xff]) },
  { encoding: 'UTF-32LE', mark: Buffer.from([0xff, 0xfe, 0x00, 0x00]) },
  { encoding: 'UTF-8', mark: Buffer.from([0xef, 0xbb, 0xbf]) },
  { encoding: 'UTF-16BE', mark: Buffer.from([0xfe, 0xff]) },
  { encoding: 'UTF-16LE', mark: Buffer.from([0xff, 0xfe]) },
] as const;

/** The encoding that a text names by the byte order mark at its beginning; null without one (RFC 3629 section 6). */
export function markedEncoding(text: Buffer): (typeof MARKS)[number]['encoding'] | null {
  return MARKS.find(({ mark }) => text.subarray(0, mark.length).equals(mark))?.encoding ?? null;
}

/**
 * The text without a UTF-8 mark, a view of the same bytes. Writers of JSON must not add one, and readers may ignore it
 * (RFC 8259 section 8.1).
 */
export const withoutMark = (text: Buffer): Buffer =>
  markedEncoding(text) === 'UTF-8' ? text.subarray(3) : text;

/** A text as UTF-8 without a mark, decoded from UTF-16 where it is marked so; a view of the same bytes where it can be. */
export function asUtf8(text: Buffer): Buffer {
  const encoding = markedEncoding(text);
  if (encoding !== 'UTF-16BE' && encoding !== 'UTF-16LE') return withoutMark(text);
  // swap16 needs whole units; half a unit at the end is no character in any case.
  const units = Buffer.from(text.subarray(2, text.length - (text.length % 2)));
  return Buffer.from((encoding === 'UTF-16BE' ? units.swap16() : units).toString('utf16le'), 'utf8');
}
