import fc from 'fast-check';

const whitespace = fc.constantFrom('', '', '', ' ', '\n', '\t', '\r\n', '  ');

const stringText = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\\u0000',
        '\\ud800',
        '\\u00e9',
        '\\/',
        '\\"',
        '\\\\',
        '\\n',
        '__proto__',
        'payload',
        'data',
      ),
      fc.constantFrom('}', ']', ',', ':', '\u2028', '😀'),
      fc.string({ unit: 'binary', maxLength: 8 }).map((text) => JSON.stringify(text).slice(1, -1)),
    ),
    { maxLength: 4 },
  )
  .map((parts) => `"${parts.join('')}"`);

const scalarText = fc.oneof(
  fc.constantFrom('null', 'true', 'false'),
  fc.constantFrom('0', '-0', '1.0', '1E+2', '1e999', '-1e-999', '0.1000', '123456789012345678901234567890'),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  stringText,
);

/** JSON as no library would write it, but valid: spaces, escapes, numbers that no double holds, keys twice. */
export const { jsonText } = fc.letrec<{ jsonText: string; array: string; object: string }>((tie) => ({
  jsonText: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalarText, tie('array'), tie('object')),
  array: fc
    .array(fc.tuple(whitespace, tie('jsonText'), whitespace), { maxLength: 4 })
    .map((items) => `[${items.map((item) => item.join('')).join(',')}]`),
  object: fc
    .array(fc.tuple(whitespace, stringText, whitespace, tie('jsonText'), whitespace), { maxLength: 4 })
    .map((items) => `{${items.map(([a, key, b, value, c]) => `${a}${key}${b}:${b}${value}${c}`).join(',')}}`),
}));
