import { hiddenCharacter } from './hidden-characters.js';

/** Printable and without control characters, so that it is safe in a header and a log. */
const KEY = /^[^\p{Cc}\p{Cs}]{1,256}$/u;

export const KEY_RULE = 'must be a string of 1 to 256 characters without control and format characters';

export const isIdempotencyKey = (value: unknown): value is string =>
  typeof value === 'string' && KEY.test(value) && hiddenCharacter(value) === null;
