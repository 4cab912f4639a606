/**
 * Characters that a reader does not see, or that change how the text around them reads: controls (but for tab and line
 * breaks), the format characters of Unicode (category Cf: directions such as U+202E, zero-width spaces, byte order
 * marks), line and paragraph separators, halves of surrogate pairs, and the letters that are blank (Hangul fillers).
 * The joiners U+200C and U+200D are not meant between characters of scripts that need them, and of emoji: Persian and
 * the scripts of India cannot be written without. See Unicode Technical Report 36, section 2.
 */
const HIDDEN =
  /(?![\t\r\n])(?!(?<=[^\0-\u024F\u200C\u200D])[\u200C\u200D](?=[^\0-\u024F\u200C\u200D]))[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115F\u1160\u3164\uFFA0]/u;

/** The first hidden character of a text, as `U+202E`; null where there is none. */
export function hiddenCharacter(text: string): string | null {
  const found = HIDDEN.exec(text)?.[0];
  if (found === undefined) return null;
  return `U+${(found.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** What is wrong with a text that people will read, as the message of its field; null where it has nothing hidden. */
export function hiddenCharacterMessage(text: string): string | null {
  const found = hiddenCharacter(text);
  return found === null
    ? null
    : `must not hold control or format characters; it has ${found}, which is not seen, or changes how the text around it reads`;
}
