import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { elementSpans, memberSpans, type Span } from '../../../src/domain/json-spans.js';

const cut = (bytes: Buffer, { start, end }: Span) => bytes.toString('utf8', start, end);
const members = (json: string) => {
  const bytes = Buffer.from(json);
  return Object.fromEntries([...memberSpans(bytes)].map(([key, span]) => [key, cut(bytes, span)]));
};
const elements = (json: string) => {
  const bytes = Buffer.from(json);
  return elementSpans(bytes).map((span) => cut(bytes, span));
};

/** A JSON text as some client might write it: any whitespace, escapes and spellings of numbers. */
interface Written {
  text: string;
  /** The texts of its own items; `key` as written, quotes included. */
  items: { key: string; text: string }[];
}
const whitespace = fc.string({ unit: fc.constantFrom(' ', '\n', '\r', '\t'), maxLength: 3 });
const character = fc.oneof(
  fc.constantFrom('\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r', '\\t'),
  fc.constantFrom('\\u0022', '\\u005C', '\\ud83d\\ude00', '\\uD800', '{', '}', '[', ']', ',', ':', 'é', '😀'),
  fc.string({ minLength: 1, maxLength: 1 }).map((c) => JSON.stringify(c).slice(1, -1)),
);
const string = fc.array(character, { maxLength: 8 }).map((characters) => `"${characters.join('')}"`);
const key = fc.oneof(string, fc.constantFrom('"a"', '"\\u0061"', '"__proto__"'));
const scalar = fc.oneof(
  string,
  fc.constantFrom(
    'true',
    'false',
    'null',
    '0',
    '-0',
    '1.0',
    '1E+2',
    '-1.50e-3',
    '12345678901234567890123',
    '1e400',
  ),
  fc.integer().map(String),
);
const { array, object } = fc.letrec<{ value: Written; array: Written; object: Written }>((tie) => {
  const items = fc.array(fc.tuple(key, fc.array(whitespace, { minLength: 4, maxLength: 4 }), tie('value')), {
    maxLength: 5,
  });
  const container = (open: string, close: string, withKey: (key: string) => string) =>
    fc.tuple(whitespace, items).map(([blank, list]) => {
      const texts = list.map(([k, [w1, w2, w3, w4], { text }]) =>
        [w1, withKey(`${k}${w2}:`), w3, text, w4].join(''),
      );
      return {
        text: open + (texts.join(',') || blank) + close,
        items: list.map(([k, , { text }]) => ({ key: k, text })),
      };
    });
  return {
    value: fc.oneof(
      { maxDepth: 4 },
      scalar.map((text) => ({ text, items: [] })),
      tie('array'),
      tie('object'),
    ),
    array: container('[', ']', () => ''),
    object: container('{', '}', (prefix) => prefix),
  };
});

describe('memberSpans', () => {
  it.each([
    ['{}', {}],
    [' { } ', {}],
    ['{"id":12345678901234567890123}', { id: '12345678901234567890123' }],
    ['{"a": 1.0 ,\n"b":\t[1, 2 ] }', { a: '1.0', b: '[1, 2 ]' }],
    ['{"a":{"b":{"a":1}},"c":"}"}', { a: '{"b":{"a":1}}', c: '"}"' }],
    ['{"a":"\\"","b":"\\\\","c":"\\\\\\""}', { a: '"\\""', b: '"\\\\"', c: '"\\\\\\""' }],
    ['{"a":1,"a":2,"\\u0061":3}', { a: '3' }],
    ['{"é\\n\\ud83d\\ude00":"é"}', { 'é\n😀': '"é"' }],
    ['{"":[]}', { '': '[]' }],
  ])('of %s', (json, expected) => expect(members(json)).toEqual(expected));

  it('gives the bytes of every member that JSON.parse finds, unchanged', () => {
    fc.assert(
      fc.property(whitespace, object, whitespace, (before, { text, items }, after) => {
        const bytes = Buffer.from(before + text + after);
        const parsed = JSON.parse(bytes.toString()) as Record<string, unknown>;
        const spans = memberSpans(bytes);
        expect(new Set(spans.keys())).toEqual(new Set(Object.keys(parsed)));
        for (const [name, span] of spans) {
          expect(JSON.parse(cut(bytes, span))).toEqual(parsed[name]);
          expect(cut(bytes, span)).toBe(items.findLast((item) => JSON.parse(item.key) === name)?.text);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('reads an object inside a larger text', () => {
    const bytes = Buffer.from('{"events": [ {"payload": {"n": 1.0}} , 2]}');
    const [first] = elementSpans(bytes, memberSpans(bytes).get('events')!.start);
    const payload = memberSpans(bytes, first!.start, first!.end).get('payload')!;
    expect(cut(bytes, payload)).toBe('{"n": 1.0}');
  });

  it('keeps bytes that are not UTF-8', () => {
    const bytes = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0x80]), Buffer.from('"}')]);
    const { start, end } = memberSpans(bytes).get('a')!;
    expect(bytes.subarray(start, end)).toEqual(Buffer.from([0x22, 0xff, 0x80, 0x22]));
  });

  it.each(['[]', '1', '', '  '])('refuses "%s", which is no object', (json) => {
    expect(() => memberSpans(Buffer.from(json))).toThrow(TypeError);
  });
});

describe('elementSpans', () => {
  it.each([
    ['[]', []],
    [' [\n] ', []],
    ['[1]', ['1']],
    ['[ 1.0 , "a,]" ,[ ],{"a":[1]}, null ]', ['1.0', '"a,]"', '[ ]', '{"a":[1]}', 'null']],
  ])('of %s', (json, expected) => expect(elements(json)).toEqual(expected));

  it('gives the bytes of every element that JSON.parse finds, unchanged', () => {
    fc.assert(
      fc.property(whitespace, array, whitespace, (before, { text, items }, after) => {
        const bytes = Buffer.from(before + text + after);
        expect(elementSpans(bytes).map((span) => cut(bytes, span))).toEqual(items.map((item) => item.text));
        expect(elementSpans(bytes)).toHaveLength((JSON.parse(bytes.toString()) as unknown[]).length);
      }),
      { numRuns: 500 },
    );
  });

  it.each(['{}', '1', ''])('refuses "%s", which is no array', (json) => {
    expect(() => elementSpans(Buffer.from(json))).toThrow(TypeError);
  });
});

describe('any bytes', () => {
  it('end in spans or a TypeError or SyntaxError, and soon', () => {
    const bits = fc.constantFrom('{', '}', '[', ']', '"', '\\', ',', ':', ' ', '1', '"a"', '"a":');
    fc.assert(
      fc.property(fc.array(bits, { maxLength: 12 }), (parts) => {
        const bytes = Buffer.from(parts.join(''));
        for (const read of [memberSpans, elementSpans]) {
          try {
            read(bytes);
          } catch (error) {
            if (!(error instanceof TypeError) && !(error instanceof SyntaxError)) throw error;
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
