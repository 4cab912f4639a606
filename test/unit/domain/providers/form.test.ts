import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MAX_PARAMETERS, parseForm, valueOf } from '../../../../src/domain/providers/form.js';

const textOf = (...pieces: fc.Arbitrary<string>[]) =>
  fc.array(fc.oneof(...pieces)).map((all) => all.join(''));
const signs = fc.constantFrom('&', '=', '+', '%41', '%C3%A9', '%00', '%ef%bb%bf');
const ascii = fc.string({ unit: 'grapheme-ascii', maxLength: 4 });
const anyText = fc.string({ unit: 'grapheme', maxLength: 4 }).map((text) => text.replaceAll('%', ''));
/** Node reads a broken escape beside letters beyond ASCII otherwise than the standard says, so one of the two. */
const formText = fc.oneof(
  textOf(signs, fc.constantFrom('%', '%4', '%c3', '%FF', '%zz'), ascii),
  textOf(signs, fc.constantFrom('\ufeff', 'é'), anyText),
);

it('reads any form as URLSearchParams does', () => {
  fc.assert(
    fc.property(formText, (text) => {
      // Which takes a leading question mark for the beginning of a query; a body has none.
      expect(parseForm(Buffer.from(text))).toEqual([...new URLSearchParams(text.replace(/^\?/, '??'))]);
    }),
    { numRuns: 1_000 },
  );
});

it('reads nothing of what has more parameters than any webhook', () => {
  expect(parseForm(Buffer.from('a=1&'.repeat(MAX_PARAMETERS - 1)))).toHaveLength(MAX_PARAMETERS - 1);
  expect(parseForm(Buffer.from('a=1&'.repeat(MAX_PARAMETERS)))).toBeNull();
  expect(parseForm(Buffer.from('&'.repeat(MAX_PARAMETERS)))).toBeNull();
});

it('gives the first value of a name', () => {
  expect(
    valueOf(
      [
        ['a', '1'],
        ['a', '2'],
      ],
      'a',
    ),
  ).toBe('1');
  expect(valueOf([], 'a')).toBeNull();
});
