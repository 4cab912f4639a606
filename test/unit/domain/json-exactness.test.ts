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
    '{"a":0.000e5,"b":-0.0,"c":1000000e-3,"d":0.00000000000000000000001,"e":100000000000000000000000}',
    '{"a":1E308,"b":12e307,"c":2e-308,"d":1E-310,"e":0.5e-323}',
    `{"a":0.1${'0'.repeat(397)}}`,
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
    ['{"a":123456789012345678e-5,"b":2E308,"c":1.6e-323}', ['a', 'b', 'c']],
    [`{"a":{"b":0.1${'0'.repeat(398)}}}`, ['a.b']],
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

  it('is a number only where the double that it becomes is written with the same value', () => {
    const digits = fc.stringMatching(/^[1-9]?\d{0,20}0{0,3}$/).filter((text) => text !== '');
    const whole = digits.map((text) => String(BigInt(text)));
    const literal = fc
      .tuple(whole, fc.option(digits), fc.option(fc.integer({ min: -330, max: 310 })))
      .map(([w, f, e]) => `${w}${f === null ? '' : `.${f}`}${e === null ? '' : `e${e}`}`);
    fc.assert(
      fc.property(literal, (number) => {
        const kept = Number(number);
        const isSame = Number.isFinite(kept) && scaled(number) === scaled(String(kept));
        expect(pathsOf(`{"a":${number}}`)).toEqual(isSame ? [] : ['a']);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is every number but a repeated name, where numbers are only compared', () => {
    const text = `{"equals":8202522731445525542,"limit":1e400,"a":{"b":1,"b":2}}`;
    expect(inexactPlaces(Buffer.from(text), { exactNumbers: false }).map(({ path }) => path)).toEqual([
      'a.b',
    ]);
  });

  it('names ten places at the most', () => {
    expect(pathsOf(`[${'1e400,'.repeat(1_000)}1]`)).toHaveLength(10);
  });
});

describe('cost relative to JSON.parse of the same bytes', () => {
  const SIZE = 250_000;
  const listOf = (item: string) =>
    `[${Array<string>(Math.floor(SIZE / (item.length + 1)))
      .fill(item)
      .join()}]`;
  const listOfNumbers = (item: (n: number) => string) =>
    `[${Array.from({ length: SIZE / 20 }, (_, n) => item(10_000 + n)).join()}]`;

  it.each([
    ['whole numbers', listOf('1')],
    ['fractions', listOf('1.50')],
    ['exponents', listOf('1e0')],
    ['the largest magnitude', listOf('1e308')],
    ['the smallest magnitude', listOf('1e-308')],
    ['different numbers of the largest magnitude', listOfNumbers((n) => `1.${n}e308`)],
    ['different numbers of 17 digits', listOfNumbers((n) => `${n / 3}`)],
    ['fractions of many zeros', listOf('1.00000000000000000')],
    ['17 digits', listOf('0.30000000000000004')],
    ['numbers of 400 characters', listOf(`0.1${'0'.repeat(397)}`)],
    ['one long number', `{"a":0.1${'0'.repeat(SIZE)}1}`],
    ['spaces', `{"a":${' '.repeat(SIZE)}1}`],
    ['small objects', listOf('{"a":1,"b":2}')],
    ['names', `{${Array.from({ length: SIZE / 10 }, (_, index) => `"n${index}":1`).join()}}`],
    ['literals', listOf('null')],
    ['lists', listOf('[]')],
    ['a string of quotes', `"${'\\"'.repeat(SIZE / 2)}"`],
  ])('of %s is small', (_, text) => {
    const bytes = Buffer.from(text);
    const [parsed, scanned] = [() => JSON.parse(bytes.toString('utf8')), () => inexactPlaces(bytes)].map(
      leastMs,
    );
    expect(scanned! / parsed!).toBeLessThan(8);
  });
});

/** A number times 10^400, which makes it whole. */
function scaled(number: string): bigint {
  const [mantissa = '', exponent = '0'] = number.split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  return BigInt(whole + fraction) * 10n ** BigInt(Number(exponent) - fraction.length + 400);
}

/** Of thirty runs: what else the machine does only adds. */
function leastMs(run: () => unknown): number {
  return Math.min(
    ...Array.from({ length: 30 }, () => {
      const start = performance.now();
      run();
      return performance.now() - start;
    }),
  );
}
