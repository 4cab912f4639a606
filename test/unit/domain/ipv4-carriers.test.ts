import { describe, expect, it } from 'vitest';
import { nat64Carrier } from '../../../src/domain/ipv4-carriers.js';
import { AddressRules } from '../../../src/domain/target-address.js';

/** RFC 6052 section 2.4: 192.0.2.33 behind a NAT64 prefix of each length. */
const BEHIND_NAT64: [prefix: string, address: string][] = [
  ['2001:db8::/32', '2001:db8:c000:221::'],
  ['2001:db8:100::/40', '2001:db8:1c0:2:21::'],
  ['2001:db8:122::/48', '2001:db8:122:c000:2:2100::'],
  ['2001:db8:122:300::/56', '2001:db8:122:3c0:0:221::'],
  ['2001:db8:122:344::/64', '2001:db8:122:344:c0:2:2100::'],
  ['2001:db8:122:344::/96', '2001:db8:122:344::192.0.2.33'],
  ['64:ff9b:1::/48', '64:ff9b:1:c000:2:2100::'],
];

describe('a NAT64 prefix of the operator', () => {
  it.each(BEHIND_NAT64)('%s: what is behind it counts as its IPv4 address', (prefix, address) => {
    const rules = AddressRules.parse('192.0.2.0/24').withNat64([prefix]);
    expect(rules.destinationOf(address)).toBe('192.0.2.33');
    expect(rules.isOfOperator(address)).toBe(true);
    expect(rules.isAllowed(address)).toBe(true);
  });

  it.each(BEHIND_NAT64)('%s: what is behind it is judged by its IPv4 address', (prefix, address) => {
    expect(AddressRules.parse('').withNat64([prefix]).isAllowed(address)).toBe(false);
  });

  it.each(['2001:db8::', '2001:db8::/33', '2001:db8::/128', '10.0.0.0/32', '::ffff:0:0/96'])(
    'cannot be %s',
    (prefix) => expect(() => nat64Carrier(prefix)).toThrow(/NAT64/),
  );
});

describe('a destination', () => {
  it.each([
    ['an IPv4 address', '198.51.100.7', '198.51.100.7'],
    ['mapped', '::ffff:198.51.100.7', '198.51.100.7'],
    ['mapped, in hexadecimal digits', '::ffff:c633:6407', '198.51.100.7'],
    ['through NAT64', '64:ff9b::c633:6407', '198.51.100.7'],
    ['through 6to4', '2002:c633:6407::1', '198.51.100.7'],
    ['through 6to4, another subnet', '2002:c633:6407:beef::2', '198.51.100.7'],
    ['through Teredo', '2001:0:1234:5678:8000:1:39cc:9bf8', '198.51.100.7'],
    ['an IPv6 address, its /64', '2001:db8:0:1::1', '6:2306139568115548161'],
    ['another one of the same /64', '2001:db8:0:1:ffff:ffff:ffff:ffff', '6:2306139568115548161'],
    ['one of the next /64', '2001:db8:0:2::1', '6:2306139568115548162'],
    ['no address', 'nonsense', 'nonsense'],
  ])('is, of %s', (_, address, destination) =>
    expect(AddressRules.parse('').destinationOf(address)).toBe(destination),
  );

  it.each([
    ['10.1.2.3', true],
    ['::ffff:10.1.2.3', true],
    ['64:ff9b::10.1.2.3', true],
    ['2002:a01:203::', true],
    ['fd00::1', true],
    ['11.1.2.3', false],
    ['64:ff9b::11.1.2.3', false],
    ['2001:db8::1', false],
    ['nonsense', false],
  ])('%s is of the operator: %s', (address, isOfOperator) =>
    // NAT64 is allowed as such, which makes nobody behind it the operator.
    expect(AddressRules.parse('10.0.0.0/8,fd00::/8,64:ff9b::/96').isOfOperator(address)).toBe(isOfOperator),
  );
});
