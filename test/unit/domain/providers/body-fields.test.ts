import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldsOf } from '../../../../src/domain/providers/body-fields.js';

const fieldsIn = (body: string | Buffer) => fieldsOf(Buffer.from(body));

describe('fieldsOf', () => {
  it.each([
    ['{"a":{"b":"c"}}', 'a.b', 'c'],
    [' \r\n\t{ "a" : { "b" : "c" } }', 'a.b', 'c'],
    ['{"a":12345678901234567891}', 'a', '12345678901234567891'],
    ['{"a":-1.50}', 'a', '-1.50'],
    ['{"a":"\\u00e9\\n"}', 'a', 'é\n'],
    ['{"\\u0061":"escaped"}', 'a', 'escaped'],
    ['{"a":"first","a":"last"}', 'a', 'last'],
    ['{"__proto__":{"a":"b"}}', '__proto__.a', 'b'],
    ['{}', '__proto__', null],
    ['{}', 'constructor.name', null],
    ['{"a":null}', 'a', null],
    ['{"a":true}', 'a', null],
    ['{"a":["b"]}', 'a.0', null],
    ['{"a":{"b":"c"}}', 'a', null],
    ['{"a":"b"}', 'a.b', null],
    ['{"a":"b"}', 'a.length', null],
    ['["a"]', 'a', null],
    ['"a"', 'a', null],
    ['7', 'a', null],
    ['', 'a', null],
    ['  ', 'a', null],
    ['{"a":"b",}', 'a', null],
    ['\ufeff{"a":"b"}', 'a', 'b'],
    ['\ufeff {"a":12345678901234567891}', 'a', '12345678901234567891'],
    ['\ufeff\ufeff{"a":"b"}', 'a', null],
    ['\ufeffa=b', 'a', 'b'],
    [Buffer.from('\ufeff{"a":"b"}', 'utf16le'), 'a', 'b'],
    [Buffer.from('\ufeff{"a":"b"}', 'utf16le').swap16(), 'a', 'b'],
    ['a=b', 'a', 'b'],
    ['<a href="?a=b"/>', 'a', null],
    ['{"a":"b&a=c&",}', 'a', null],
  ])('reads in %s at %s: %s', (body, path, text) => {
    expect(fieldsIn(body)(path)).toBe(text);
  });

  it('reads no JSON that is no UTF-8', () => {
    expect(fieldsIn(Buffer.from('{"a":"\xe9"}', 'latin1'))('a')).toBeNull();
  });

  it.each([
    ['a=b+c&a=d', 'a', 'b c'],
    ['a.b=%C3%A9', 'a.b', 'é'],
    ['', 'a', null],
  ])('reads of %s the parameter %s: %s', (body, name, text) => {
    expect(fieldsIn(body)(name)).toBe(text);
  });

  it('reads JSON of 100 levels, and none that is deeper', () => {
    const nested = (levels: number) => `{"a":"b","c":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
    expect(fieldsIn(nested(100))('a')).toBe('b');
    expect(fieldsIn(nested(101))('a')).toBeNull();
  });

  it('reads a form of 1,000 parameters, and none of more', () => {
    const form = (count: number) => fieldsIn(Array(count).fill('a=b').join('&'));
    expect(form(1_000)('a')).toBe('b');
    expect(form(1_001)('a')).toBeNull();
  });

  it('gives the very text of any member', () => {
    const names = fc.string({ minLength: 1, maxLength: 8 }).map((name) => name.replaceAll('.', '-'));
    const members = fc.dictionary(names, fc.oneof(fc.string({ unit: 'binary' }), fc.integer()), {
      maxKeys: 5,
    });
    fc.assert(
      fc.property(members, (object) => {
        const fields = fieldsIn(JSON.stringify(object));
        for (const [name, value] of Object.entries(object)) expect(fields(name)).toBe(String(value));
      }),
    );
  });

  it('throws for no body', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), (bytes, path) => {
        expect(() => fieldsIn(Buffer.from(bytes))(path)).not.toThrow();
      }),
    );
  });
});
