import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpAddress } from '../../../src/domain/ip-address.js';

describe('parseIpAddress', () => {
  it.each<[string, 4 | 6, bigint]>([
    ['0.0.0.0', 4, 0n],
    ['1.2.3.4', 4, 0x01020304n],
    ['255.255.255.255', 4, 0xffffffffn],
    ['::', 6, 0n],
    ['::1', 6, 1n],
    ['1::', 6, 1n << 112n],
    ['0:0:0:0:0:0:0:1', 6, 1n],
    ['2001:DB8::a:0:b', 6, 0x20010db8_0000_0000_0000_000a_0000_000bn],
    ['1:2:3:4:5:6:7:8', 6, 0x0001_0002_0003_0004_0005_0006_0007_0008n],
    ['::1.2.3.4', 6, 0x01020304n],
    ['64:ff9b::1.2.3.4', 6, (0x64_ff9bn << 96n) | 0x01020304n],
    ['1:2:3:4:5:6:1.2.3.4', 6, 0x0001_0002_0003_0004_0005_0006_0102_0304n],
    ['fe80::1%eth0', 6, (0xfe80n << 112n) | 1n],
    ['fe80::1%', 6, (0xfe80n << 112n) | 1n],
    ['::ffff:1.2.3.4', 4, 0x01020304n],
    ['::FFFF:102:304', 4, 0x01020304n],
    ['0:0:0:0:0:ffff:1.2.3.4%7', 4, 0x01020304n],
    ['::ffff:0:1.2.3.4', 6, (0xffffn << 48n) | 0x01020304n],
  ])('%s', (text, version, value) => expect(parseIpAddress(text)).toEqual({ version, value }));

  it.each([
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '0x7f.0.0.1',
    '2130706433',
    ' 1.2.3.4',
    '1.2.3.4%eth0',
    '1.2.3.4/32',
    '１.2.3.4',
    '[::1]',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::12345',
    '::1.2.3',
    '%eth0',
  ])('is null for what is no address: "%s"', (text) => expect(parseIpAddress(text)).toBeNull());

  it('gives the same for every spelling of an address', () => {
    const groups = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, fc.nat(7), fc.nat(8), (numbers, from, length) => {
        const hex = numbers.map((group) => group.toString(16));
        const value = BigInt(`0x${hex.map((group) => group.padStart(4, '0')).join('')}`);
        const dotted = [numbers[6]! >> 8, numbers[6]! & 255, numbers[7]! >> 8, numbers[7]! & 255].join('.');
        const spellings = [
          hex.join(':'),
          hex.join(':').toUpperCase(),
          hex.map((group) => group.padStart(4, '0')).join(':'),
          `${hex.slice(0, 6).join(':')}:${dotted}`,
          // As URL shortens it.
          new URL(`http://[${hex.join(':')}]/`).hostname.slice(1, -1),
        ];
        const to = Math.min(from + length, 8);
        if (to > from && numbers.slice(from, to).every((group) => group === 0)) {
          spellings.push(`${hex.slice(0, from).join(':')}::${hex.slice(to).join(':')}`);
        }
        const isMapped = value >> 32n === 0xffffn;
        const expected = isMapped ? { version: 4, value: value & 0xffffffffn } : { version: 6, value };
        for (const text of spellings) expect(parseIpAddress(text), text).toEqual(expected);
      }),
    );
  });
});
