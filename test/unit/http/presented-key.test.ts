import { expect, it } from 'vitest';
import { presentedKey, unknownKey } from '../../../src/http/presented-key.js';

const KEY = 'ph_Dx3n9T0bqkW7-c2VfYl5RzJm8HsUeAoP1gQiN4tXvMw';

const read = (...rawHeaders: string[]): string => {
  try {
    return presentedKey({ rawHeaders });
  } catch (error) {
    return (error as Error).message;
  }
};

it.each<[string, string[]]>([
  ['Bearer', ['Authorization', `Bearer ${KEY}`]],
  ['bearer in small letters', ['authorization', `bearer   ${KEY}`]],
  ['X-API-Key', ['X-Api-Key', KEY]],
  ['both, the same', ['X-API-Key', KEY, 'Authorization', `Bearer ${KEY}`]],
  ['the same Authorization twice', ['Authorization', `Bearer ${KEY}`, 'authorization', `Bearer ${KEY}`]],
  ["another scheme's credentials beside it", ['Authorization', 'Basic YTpi', 'X-API-Key', KEY]],
])('takes a key by %s', (_, rawHeaders) => {
  expect(read(...rawHeaders)).toBe(KEY);
});

/** What is wrong with the headers, and what the answer says of it. */
it.each<[string, string[], RegExp]>([
  ['nothing', [], /has no API key\. Send/],
  ['an empty Authorization', ['Authorization', ''], /Authorization header is empty/],
  ['an empty Bearer', ['Authorization', 'Bearer'], /no key behind "Bearer".*variable/],
  ['an empty Bearer with a space', ['Authorization', 'Bearer '], /no key behind "Bearer".*variable/],
  ['a key without a scheme', ['Authorization', KEY], /write "Bearer" and a space in front/],
  ['Basic', ['Authorization', 'Basic YTpi'], /must be "Bearer", not "Basic"/],
  ['Token', ['Authorization', `Token ${KEY}`], /must be "Bearer", not "Token"/],
  ['a scheme of odd characters', ['Authorization', `T<b> ${KEY}`], /must be "Bearer", not another one/],
  ['Bearer twice', ['Authorization', `Bearer Bearer ${KEY}`], /"Bearer" twice/],
  [
    'a key in pieces',
    ['Authorization', `Bearer ${KEY.slice(0, 9)} ${KEY.slice(9)}`],
    /a space or line break/,
  ],
  ['an empty X-API-Key', ['X-API-Key', ''], /X-API-Key header is empty/],
  ['two keys in one header', ['X-API-Key', `${KEY}, ${KEY}`], /a space in it/],
  ['letters of other scripts', ['X-API-Key', `${KEY}é`], /characters that no key has/],
  ['far too much', ['X-API-Key', 'x'.repeat(257)], /longer than 256/],
  [
    'two Authorization',
    ['Authorization', `Bearer ${KEY}`, 'Authorization', `Bearer ${KEY}2`],
    /send one of them/,
  ],
  ['Bearer and Basic', ['Authorization', `Bearer ${KEY}`, 'Authorization', 'Basic YTpi'], /send one of them/],
  ['two X-API-Key', ['X-API-Key', KEY, 'x-api-key', `${KEY}2`], /send one of them/],
  ['one of each', ['Authorization', `Bearer ${KEY}`, 'X-API-Key', `${KEY}2`], /send one of them/],
  ['a key and an empty one', ['Authorization', `Bearer ${KEY}`, 'X-API-Key', ''], /send one of them/],
])('says what is wrong: %s', (_, rawHeaders, message) => {
  const told = read(...rawHeaders);
  expect(told).toMatch(message);
  expect(told).not.toContain(KEY.slice(0, 9));
});

/** An operator may have chosen such a key, so it is looked up before anything is said of its looks. */
it.each<[string, string, RegExp]>([
  ['quotation marks', `"${KEY}"`, /quotation marks/],
  ['a quotation mark at one end', `${KEY}'`, /quotation marks/],
  ['a placeholder', '$API_KEY_OF_MINE', /placeholder/],
  ['another placeholder', '<your-key>', /placeholder/],
  ['the word KEY', 'KEY', /placeholder/],
  ['a value that was never set', 'undefined', /placeholder/],
  ['a part of a key', KEY.slice(0, 20), /has 20 characters/],
  ['any other', 'something-else', /not known here/],
])('says what may be wrong with a key that is not known: %s', (_, key, message) => {
  expect(read('X-API-Key', key)).toBe(key);
  expect(unknownKey(key).message).toMatch(message);
});
