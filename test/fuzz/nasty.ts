import fc from 'fast-check';

/**
 * Marks text that takes the place of the string it stands in when a body is written: what JSON.stringify would never
 * write, such as numbers beyond 2^53.
 */
export const raw = (text: string): string => `@@raw:${text}@@`;
export const writeRaw = (json: string): string => json.replace(/"@@raw:((?:(?!@@).)*)@@"/gs, '$1');

/** Any UTF-16, so halves of surrogate pairs, NUL and other controls as well. */
const utf16 = fc
  .array(
    fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 9, 10, 13, 0xd800, 0xdfff, 0xfeff)),
    {
      maxLength: 12,
    },
  )
  .map((units) => String.fromCharCode(...units));

export const nastyText = fc.oneof(
  utf16,
  fc.constantFrom(
    '',
    ' ',
    '\0',
    'a\0b',
    '\ud800',
    'a\udc00',
    '\u202e',
    '\r\nset-cookie: a=b',
    '\n{"level":60}',
    "' or 1=1 --",
    '$1',
    '%00',
    '../../etc/passwd',
    '__proto__',
    'constructor',
    '{{7*7}}',
    '${7*7}',
    'null',
    'NaN',
    'true',
    '-1',
    '1e400',
    '9007199254740993',
    '*',
    'a'.repeat(257),
    'ä'.repeat(1_001),
    'é'.repeat(8_200),
    '2026-02-30T00:00:00Z',
    '2026-01-31T12:00:00+99:99',
    '+275760-09-13T00:00:00.001Z',
    '9999-12-31T23:59:59.999999999Z',
    '0000-01-01T00:00:00Z',
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
  ),
);

export const nastyNumber = fc.constantFrom<unknown>(
  0,
  -1,
  0.5,
  101,
  2 ** 31,
  2 ** 53,
  ...['-0', '1e400', '-1e400', '9007199254740993', '1e-400', '0.1e1', '1E3', '9'.repeat(400)].map(raw),
  ...['NaN', 'Infinity', '01', '0x10', '+1', '.5', '1.', "'a'", 'undefined'].map(raw),
);

const deep = fc
  .tuple(fc.constantFrom(5, 98, 99, 100, 101, 3_000), fc.constantFrom(['[', ']'], ['{"a":', '}']))
  .map(([depth, [open, close]]) => raw(`${open.repeat(depth)}1${close.repeat(depth)}`));

/** A value where another one, or none, is expected. */
export const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: nastyText },
  { weight: 3, arbitrary: nastyNumber },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], [{}], { a: 1 }) },
  { weight: 1, arbitrary: deep },
  { weight: 1, arbitrary: fc.jsonValue() },
  { weight: 1, arbitrary: fc.constant(Array.from({ length: 1_100 }, () => 'a')) },
);

export const nastyName = fc.oneof(
  nastyText,
  fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'then', 'toJSON'),
  fc.constantFrom('id', 'tenant_id', 'tenantId', 'api_key', 'scopes', 'suspended', 'created_at', 'status'),
);

/** What a query or path may be written with that is no, or odd, percent-encoding. */
export const nastyEscapes = fc.oneof(
  fc.constantFrom('%', '%z', '%zz', '%00', '%ff', '%c0%af', '%ed%a0%80', '%25', '%2525', '+', '%0d%0aa:%20b'),
  fc.constantFrom(
    '[]',
    '[a]',
    '[__proto__]',
    '.',
    ';',
    '#',
    '&&',
    '=',
    '==',
    '?',
    '/',
    '//',
    '\\',
    '%2f',
    '%5c',
  ),
  nastyText.map(percentEncoded),
);

/** As encodeURIComponent, which refuses halves of surrogate pairs. */
export function percentEncoded(text: string): string {
  return /\p{Cs}/u.test(text)
    ? [...Buffer.from(text, 'utf16le')].map(escaped).join('')
    : encodeURIComponent(text);
}

const escaped = (byte: number): string => `%${byte.toString(16).padStart(2, '0')}`;

interface Change {
  how: 'replace' | 'remove' | 'add' | 'wrap' | 'repeat';
  /** Which of all places in the value, modulo their number. */
  where: number;
  value: unknown;
  name: string;
}

export const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({
    how: fc.constantFrom<Change['how'][]>('replace', 'replace', 'remove', 'add', 'wrap', 'repeat'),
    where: fc.nat(1_000),
    value: nastyValue,
    name: nastyName,
  }),
  { minLength: 1, maxLength: 3 },
);

/** The value with some of its places changed; itself left as it is. */
export function changed(value: unknown, { how, where, value: other, name }: Change): unknown {
  const places = placesOf(value);
  return changedAt(value, places[where % places.length]!, (place) => {
    switch (how) {
      case 'replace':
        return other;
      case 'remove':
        return undefined;
      case 'add':
        return withMember(place, name, other);
      case 'wrap':
        return [place];
      case 'repeat':
        return Array.isArray(place) ? [...place, ...place] : [place, place];
    }
  });
}

function placesOf(value: unknown): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  const inside = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [
    [],
    ...inside.flatMap(([key, member]: [string | number, unknown]) =>
      placesOf(member).map((rest) => [key, ...rest]),
    ),
  ];
}

function changedAt(value: unknown, place: (string | number)[], change: (value: unknown) => unknown): unknown {
  const [first, ...rest] = place;
  if (first === undefined) return change(value);
  if (Array.isArray(value))
    return value.map((item, i) => (i === first ? changedAt(item, rest, change) : item));
  // fromEntries makes an own member of __proto__ too.
  return Object.fromEntries(
    Object.entries(value as object).map(([key, member]) => [
      key,
      key === first ? changedAt(member, rest, change) : (member as unknown),
    ]),
  );
}

function withMember(value: unknown, name: string, member: unknown): unknown {
  if (Array.isArray(value)) return [...(value as unknown[]), member];
  const members = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return Object.fromEntries([...members, [name, member]]);
}
