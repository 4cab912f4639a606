import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inexactPlaces } from '../../../src/domain/json-exactness.js';

const pathsOf = (text: string): string[] => inexactPlaces(Buffer.from(text)).map(({ path }) => path);

describe('what comes back as it was given', () => {
  it.each([
    '{}',
    '{"a":1,"b":1.0,"c":1e0,"d":-0,"e":0.1,"f":1E+2}',
    '{"max":9007199254740992,"min":-9007199254740991}',
    '{"a":0.30000000000000004,"b":1e21,"c":5e-324,"d":1.7976931348623157e308}',
    '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}',
    '{"a":"1e400","b":"8202522731445525542","c":"\\ud800 \\u0000"}',
    ' [ 1 , 2 ] ',
  ])('%s is exact', (text) => expect(pathsOf(text)).toEqual([]));

  it.each([
    [
      '{"metadata": {"account": 8202522731445525542, "limit": 1e400}}',
      ['metadata.account', 'metadata.limit'],
    ],
    ['{"a":[1,{"b":9007199254740993}]}', ['a[1].b']],
    ['{"a":1000.00000000000000001}', ['a']],
    ['{"a":0.1000000000000000055511151231257827}', ['a']],
    ['{"a":-1e-400}', ['a']],
    ['{"a":1,"a":2}', ['a']],
    ['{"a":{"b":1,"\\u0062":1}}', ['a.b']],
    ['8202522731445525542', ['body']],
  ])('%s is not, at %j', (text, paths) => expect(pathsOf(text)).toEqual(paths));

  it('is every value that a program can write as JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(pathsOf(JSON.stringify(value))).toEqual([]);
      }),
    );
  });

  it('is a whole number beyond 2^53 only where it is answered with the same digits', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 2n ** 53n, max: 10n ** 21n - 1n }), (number) => {
        const isSame = JSON.stringify(Number(number)) === String(number);
        expect(pathsOf(`{"a":${number}}`)).toEqual(isSame ? [] : ['a']);
      }),
    );
  });

  it('names ten places at the most', () => {
    expect(pathsOf(`[${'1e400,'.repeat(1_000)}1]`)).toHaveLength(10);
  });
});
