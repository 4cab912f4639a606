import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressRanges, InvalidAddressRange } from '../../../src/domain/address-ranges.js';

describe('AddressRanges', () => {
  it.each<[string[], string, boolean]>([
    [[], '10.0.0.1', false],
    [['10.0.0.0/8'], '10.0.0.0', true],
    [['10.0.0.0/8'], '10.255.255.255', true],
    [['10.0.0.0/8'], '9.255.255.255', false],
    [['10.0.0.0/8'], '11.0.0.0', false],
    [['10.0.0.0/8'], '::ffff:10.0.0.1', true],
    [['10.0.0.0/8'], '::FFFF:a00:1', true],
    [['10.0.0.0/8'], '::ffff:11.0.0.1', false],
    [['10.0.0.0/8'], '::10.0.0.1', false],
    [['::ffff:10.0.0.0/104'], '10.9.9.9', true],
    [['::ffff:10.0.0.0/104'], '11.0.0.0', false],
    [['::ffff:10.0.0.1'], '10.0.0.1', true],
    [['::ffff:0:0/96'], '8.8.8.8', true],
    [['192.168.1.128/25'], '192.168.1.127', false],
    [['192.168.1.128/25'], '192.168.1.128', true],
    [['10.1.2.3'], '10.1.2.3', true],
    [['10.1.2.3'], '10.1.2.4', false],
    [['10.1.2.3/32'], '10.1.2.2', false],
    [['0.0.0.0/0'], '255.255.255.255', true],
    [['0.0.0.0/0'], '::ffff:1.2.3.4', true],
    [['0.0.0.0/0'], '::1', false],
    [['::/0'], 'ffff::', true],
    [['::/0'], '10.0.0.1', false],
    [['::/0'], '::ffff:10.0.0.1', false],
    [['fd00::/8'], 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', true],
    [['fd00::/8'], 'fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', false],
    [['FD00::/8'], 'FD12::1', true],
    [['fe80::/10'], 'fe80::1%eth0', true],
    [['::1'], '0:0:0:0:0:0:0:1', true],
    [['10.0.0.0/8', '192.168.0.0/16', '::1'], '192.168.3.4', true],
    [['10.0.0.0/8', '192.168.0.0/16', '::1'], '::1', true],
    [['10.0.0.0/8', '192.168.0.0/16', '::1'], '::2', false],
    [['0.0.0.0/0', '::/0'], 'localhost', false],
    [['0.0.0.0/0', '::/0'], '10.0.0.1:80', false],
    [['0.0.0.0/0', '::/0'], '', false],
  ])('%j has %s: %s', (list, address, expected) => {
    expect(AddressRanges.parse(list).has(address)).toBe(expected);
  });

  it.each([
    ['10.0.0.0/33', 'no address range'],
    ['fd00::/129', 'no address range'],
    ['::ffff:10.0.0.0/95', 'no address range'],
    ['10.0.0/8', 'no address range'],
    ['10.0.0.0/', 'no address range'],
    ['10.0.0.0/-1', 'no address range'],
    ['10.0.0.0/08', 'no address range'],
    ['10.0.0.0/8/8', 'no address range'],
    ['10.0.0.0/255.0.0.0', 'no address range'],
    ['010.0.0.0/8', 'no address range'],
    [' 10.0.0.0/8', 'no address range'],
    ['localhost', 'no address range'],
    ['fe80::1%eth0', 'no address range'],
    ['*', 'no address range'],
    ['', 'no address range'],
    ['10.1.2.3/8', 'bits set beyond its prefix'],
    ['192.168.1.129/25', 'bits set beyond its prefix'],
    ['0.0.0.1/0', 'bits set beyond its prefix'],
    ['fd00::1/8', 'bits set beyond its prefix'],
    ['::ffff:10.0.0.1/104', 'bits set beyond its prefix'],
  ])('refuses "%s" by name: %s', (range, why) => {
    const parse = () => AddressRanges.parse(['127.0.0.0/8', range]);
    expect(parse).toThrow(InvalidAddressRange);
    expect(parse).toThrow(`"${range}"`);
    expect(parse).toThrow(why);
  });

  it('has an IPv4 address exactly if its first bits are those of the range', () => {
    const bits = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(bits, bits, fc.nat(32), fc.nat(32), (network, other, prefix, shared) => {
        const range = `${dotted(first(network, prefix))}/${prefix}`;
        // An address that has at least so many bits in common, so that both answers come up.
        const address = (first(network, shared) | (other & ~mask(shared))) >>> 0;
        const expected = first(address, prefix) === first(network, prefix);
        const ranges = AddressRanges.parse([range]);
        expect(ranges.has(dotted(address)), `${range} ${dotted(address)}`).toBe(expected);
        expect(ranges.has(`::ffff:${dotted(address)}`)).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });
});

function mask(prefix: number): number {
  return prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0;
}

function first(address: number, prefix: number): number {
  return (address & mask(prefix)) >>> 0;
}

function dotted(bits: number): string {
  return [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join('.');
}
