import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidAddressRange } from '../../../src/domain/address-ranges.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { parseTargetUrl } from '../../../src/domain/target-url.js';

const publicOnly = AddressRules.parse('');
const MAX = 'ffff:ffff:ffff:ffff:ffff:ffff';

/** The range, its first and last address, and the public ones next to it; null where what is next is special too. */
const SPECIAL: [string, string, string, string | null, string | null][] = [
  ['this network 0.0.0.0/8', '0.0.0.0', '0.255.255.255', null, '1.0.0.0'],
  ['private 10.0.0.0/8', '10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
  ['shared 100.64.0.0/10', '100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
  ['loopback 127.0.0.0/8', '127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
  ['Google direct 34.126.0.0/18', '34.126.0.0', '34.126.63.255', '34.125.255.255', '34.126.64.0'],
  ['IBM services 161.26.0.0/16', '161.26.0.0', '161.26.255.255', '161.25.255.255', '161.27.0.0'],
  ['IBM endpoints 166.8.0.0/14', '166.8.0.0', '166.11.255.255', '166.7.255.255', '166.12.0.0'],
  ['Equinix Metal metadata', '192.80.8.124', '192.80.8.124', '192.80.8.123', '192.80.8.125'],
  ['Google restricted and private', '199.36.153.4', '199.36.153.11', '199.36.153.3', '199.36.153.12'],
  ['Azure host agent', '168.63.129.16', '168.63.129.16', '168.63.129.15', '168.63.129.17'],
  ['link-local 169.254.0.0/16', '169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
  ['private 172.16.0.0/12', '172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
  ['protocols 192.0.0.0/24', '192.0.0.0', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
  ['documentation 192.0.2.0/24', '192.0.2.0', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
  ['AS112 192.31.196.0/24', '192.31.196.0', '192.31.196.255', '192.31.195.255', '192.31.197.0'],
  ['AMT 192.52.193.0/24', '192.52.193.0', '192.52.193.255', '192.52.192.255', '192.52.194.0'],
  ['6to4 relays 192.88.99.0/24', '192.88.99.0', '192.88.99.255', '192.88.98.255', '192.88.100.0'],
  ['private 192.168.0.0/16', '192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
  ['AS112 192.175.48.0/24', '192.175.48.0', '192.175.48.255', '192.175.47.255', '192.175.49.0'],
  ['benchmarking 198.18.0.0/15', '198.18.0.0', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
  ['documentation 198.51.100.0/24', '198.51.100.0', '198.51.100.255', '198.51.99.255', '198.51.101.0'],
  ['documentation 203.0.113.0/24', '203.0.113.0', '203.0.113.255', '203.0.112.255', '203.0.114.0'],
  ['multicast 224.0.0.0/4', '224.0.0.0', '239.255.255.255', '223.255.255.255', null],
  ['reserved 240.0.0.0/4', '240.0.0.0', '255.255.255.255', null, null],
  ['unspecified and loopback', '::', '::1', null, null],
  ['compatible ::/96', '::', '::ffff:ffff', null, null],
  ['translated ::ffff:0:0:0/96', '::ffff:0:0:0', '::ffff:0:ffff:ffff', null, null],
  ['local NAT64 64:ff9b:1::/48', '64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff', null, null],
  ['discard 100::/64', '100::', '100::ffff:ffff:ffff:ffff', null, null],
  ['dummy 100:0:0:1::/64', '100:0:0:1::', '100:0:0:1:ffff:ffff:ffff:ffff', null, null],
  ['below global unicast ::/3', '::2:0:0:0', `1fff:ffff:${MAX}`, null, '2000::'],
  ['protocols 2001::/23', '2001::', `2001:1ff:${MAX}`, `2000:ffff:${MAX}`, '2001:200::'],
  ['Teredo 2001::/32', '2001::', `2001:0:${MAX}`, `2000:ffff:${MAX}`, null],
  ['anycast 2001:1::1 to ::3', '2001:1::1', '2001:1::3', null, null],
  ['benchmarking 2001:2::/48', '2001:2::', '2001:2:0:ffff:ffff:ffff:ffff:ffff', null, null],
  ['AMT 2001:3::/32', '2001:3::', `2001:3:${MAX}`, null, null],
  ['AS112 2001:4:112::/48', '2001:4:112::', '2001:4:112:ffff:ffff:ffff:ffff:ffff', null, null],
  ['ORCHID 2001:10::/28', '2001:10::', `2001:1f:${MAX}`, null, null],
  ['ORCHIDv2 2001:20::/28', '2001:20::', `2001:2f:${MAX}`, null, null],
  ['drones 2001:30::/28', '2001:30::', `2001:3f:${MAX}`, null, null],
  [
    'Google direct 2001:4860:8040::/42',
    '2001:4860:8040::',
    '2001:4860:807f:ffff:ffff:ffff:ffff:ffff',
    '2001:4860:803f:ffff:ffff:ffff:ffff:ffff',
    '2001:4860:8080::',
  ],
  [
    'Google restricted 2600:2d00:2:1000::/64',
    '2600:2d00:2:1000::',
    '2600:2d00:2:1000:ffff:ffff:ffff:ffff',
    '2600:2d00:2:fff:ffff:ffff:ffff:ffff',
    '2600:2d00:2:1001::',
  ],
  [
    'Google private 2600:2d00:2:2000::/64',
    '2600:2d00:2:2000::',
    '2600:2d00:2:2000:ffff:ffff:ffff:ffff',
    '2600:2d00:2:1fff:ffff:ffff:ffff:ffff',
    '2600:2d00:2:2001::',
  ],
  ['IBM services in NAT64', '64:ff9b::a11a:0', '64:ff9b::a11a:ffff', '64:ff9b::a119:ffff', '64:ff9b::a11b:0'],
  ['IBM endpoints in 6to4', '2002:a608::', `2002:a60b:${MAX}`, `2002:a607:${MAX}`, '2002:a60c::'],
  ['IBM services as mapped', '::ffff:161.26.0.0', '::ffff:161.26.255.255', null, '::ffff:161.27.0.0'],
  ['documentation 2001:db8::/32', '2001:db8::', `2001:db8:${MAX}`, `2001:db7:${MAX}`, '2001:db9::'],
  [
    'AS112 2620:4f:8000::/48',
    '2620:4f:8000::',
    '2620:4f:8000:ffff:ffff:ffff:ffff:ffff',
    '2620:4f:7fff:ffff:ffff:ffff:ffff:ffff',
    '2620:4f:8001::',
  ],
  ['6bone 3ffe::/16', '3ffe::', `3ffe:ffff:${MAX}`, `3ffd:ffff:${MAX}`, null],
  ['documentation 3fff::/20', '3fff::', `3fff:fff:${MAX}`, null, '3fff:1000::'],
  ['beyond global unicast 4000::/2', '4000::', `7fff:ffff:${MAX}`, `3fff:ffff:${MAX}`, null],
  ['SRv6 5f00::/16', '5f00::', `5f00:ffff:${MAX}`, null, null],
  ['beyond global unicast 8000::/1', '8000::', `ffff:ffff:${MAX}`, null, null],
  ['unique local fc00::/7', 'fc00::', `fdff:ffff:${MAX}`, null, null],
  ['link-local fe80::/10', 'fe80::', `febf:ffff:${MAX}`, null, null],
  ['site-local fec0::/10', 'fec0::', `feff:ffff:${MAX}`, null, null],
  ['multicast ff00::/8', 'ff00::', `ffff:ffff:${MAX}`, null, null],
];

describe('a range that is not called', () => {
  it.each(SPECIAL)('%s: both ends, and what is next to it', (_, first, last, before, after) => {
    expect(publicOnly.isAllowed(first), first).toBe(false);
    expect(publicOnly.isAllowed(last), last).toBe(false);
    if (before !== null) expect(publicOnly.isAllowed(before), before).toBe(true);
    if (after !== null) expect(publicOnly.isAllowed(after), after).toBe(true);
  });
});

describe('AddressRules', () => {
  it.each(['1.1.1.1', '8.8.8.8', '2606:4700:4700::1111', '2001:4860:4860::8888', '2a00:1450:4001::1'])(
    'allows %s',
    (address) => expect(publicOnly.isAllowed(address)).toBe(true),
  );

  it.each([
    ['AWS, Azure, Google and others', '169.254.169.254'],
    ['AWS, containers', '169.254.170.2'],
    ['AWS', 'fd00:ec2::254'],
    ['Google', 'fd20:ce::254'],
    ['Oracle', '192.0.0.192'],
    ['Alibaba', '100.100.100.200'],
    ['Azure host agent', '168.63.129.16'],
    ['AWS, mapped', '::ffff:169.254.169.254'],
    ['AWS, through NAT64', '64:ff9b::a9fe:a9fe'],
    ['Azure host agent, through NAT64', '64:ff9b::168.63.129.16'],
  ])('forbids the metadata service of %s: %s', (_, address) => {
    expect(publicOnly.isAllowed(address)).toBe(false);
  });

  it.each([
    ['0:0:0:0:0:0:0:1'],
    ['fe80::1%eth0'],
    ['2001:DB8:FFFF::1'],
    ['::7f00:1'],
    ['::8.8.8.8'],
    ['::ffff:0:8.8.8.8'],
    ['64:ff9b:1::808:808'],
    ['2001:0:808:808:0:0:f7f7:f7f7'],
    ['2002:7f00:1::'],
    ['2a00:1450::5efe:10.0.0.1'],
    ['2a00:1450::200:5efe:192.168.0.1'],
    ['fe80::5efe:8.8.8.8'],
  ])('forbids %s', (address) => expect(publicOnly.isAllowed(address)).toBe(false));

  it.each(['', 'localhost', '127.1', '8.8.8.8:80', '[2606:4700::1]', '8.8.8.8/32', '010.8.8.8'])(
    'forbids what is no address: "%s"',
    (address) => expect(AddressRules.parse('0.0.0.0/0,::/0').isAllowed(address)).toBe(false),
  );

  const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));
  /** Forms of IPv6 that reach the IPv4 address they carry, in both spellings where there are two. */
  const embeddings = ([a, b, c, d]: [number, number, number, number]) => {
    const group = (high: number, low: number) => (high * 256 + low).toString(16);
    const hex = `${group(a, b)}:${group(c, d)}`;
    return [
      `::ffff:${a}.${b}.${c}.${d}`,
      `::ffff:${hex}`,
      `0:0:0:0:0:FFFF:${a}.${b}.${c}.${d}`,
      `64:ff9b::${a}.${b}.${c}.${d}`,
      `64:ff9b::${hex}`,
      `2002:${hex}::1`,
      `2002:${hex}:0:0:0:0:0`,
    ];
  };

  it('judges an IPv6 address by the IPv4 address that it reaches', () => {
    const rules = fc.constantFrom(publicOnly, AddressRules.parse('10.0.0.0/8,127.0.0.1'));
    const special = fc.constantFrom<[number, number, number, number]>(
      [127, 0, 0, 1],
      [10, 1, 2, 3],
      [169, 254, 169, 254],
      [192, 168, 1, 1],
      [0, 0, 0, 0],
    );
    fc.assert(
      fc.property(rules, fc.oneof(octets, special), (rule, ipv4) => {
        for (const address of embeddings(ipv4)) {
          expect(rule.isAllowed(address), address).toBe(rule.isAllowed(ipv4.join('.')));
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['127.0.0.0/8', '127.0.0.1', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1', true],
    ['127.0.0.0/8', '64:ff9b::127.0.0.1', true],
    ['127.0.0.0/8', '2002:7f00:1::', true],
    ['127.0.0.0/8', '::1', false],
    ['127.0.0.0/8', '::127.0.0.1', false],
    ['127.0.0.0/8', '10.0.0.1', false],
    ['127.0.0.0/8, ::1', '::1', true],
    ['127.0.0.0/8, ::1/128', '::2', false],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    [' 10.0.0.0/8 ,, 192.168.0.0/16,', '192.168.7.7', true],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fc12::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1%1', true],
    ['10.0.0.0/8', '2a00:1450::5efe:10.0.0.1', true],
    ['10.0.0.0/8', 'fe80::5efe:10.0.0.1', false],
    ['0.0.0.0/0', '169.254.169.254', true],
    ['0.0.0.0/0', '::ffff:169.254.169.254', true],
    ['0.0.0.0/0', 'fe80::1', false],
    ['::/0', 'fe80::1', true],
    ['::/0', '::127.0.0.1', true],
    ['::/0', '10.0.0.1', false],
    ['::/0', '::ffff:10.0.0.1', false],
    ['::/0', '64:ff9b::a9fe:a9fe', false],
    ['::/0', '2002:a9fe:a9fe::1', false],
    ['::/0', 'fe80::5efe:169.254.169.254', false],
    ['::/0', '64:ff9b::8.8.8.8', true],
    ['2000::/3', '2002:a9fe:a9fe::1', false],
    ['::/0, 169.254.169.254', '64:ff9b::a9fe:a9fe', true],
    ['64:ff9b::/96', '64:ff9b::a9fe:a9fe', true],
    ['64:ff9b::a00:0/104', '64:ff9b::a00:1', true],
    ['64:ff9b::a00:0/104', '64:ff9b::a9fe:a9fe', false],
    ['2002:a00::/24', '2002:a00:1::1', true],
    ['64:ff9b:1::/48', '64:ff9b:1::a00:1', true],
    ['64:ff9b:1::/48', '64:ff9b:1:ffff::a00:1', true],
    ['64:ff9b:1::/48', '64:ff9b:2::a00:1', false],
    ['64:ff9b:1::/48', '64:ff9b::a00:1', false],
    ['64:ff9b:1:2::a00:0/104', '64:ff9b:1:2::a00:1', true],
    ['64:ff9b:1:2::a00:0/104', '64:ff9b:1:2::a9fe:a9fe', false],
    ['64:ff9b::/32', '64:ff9b:1::a00:1', false],
    ['::/0', '64:ff9b:1::', false],
    ['::/0', '64:ff9b:1::a9fe:a9fe', false],
    ['::/0', '64:ff9b:1::8.8.8.8', false],
    ['::/0', '64:ff9b:1:a9fe:a9:fe00::', false],
    ['::/0', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff', false],
    ['::/0', '64:ff9b:2::', true],
    ['::/0, 10.0.0.0/8', '64:ff9b:1::10.0.0.1', false],
    ['::/0, 0.0.0.0/0', '64:ff9b:1::10.0.0.1', false],
    ['::/0, 64:ff9b:1::/48', '64:ff9b:1::10.0.0.1', true],
    ['::/0', '::ffff:0:169.254.169.254', false],
    ['::ffff:0:0:0/96', '::ffff:0:10.0.0.1', true],
    ['127.0.0.0/8', '8.8.8.8', true],
  ])('with "%s" allowed, %s: %s', (allowCsv, address, expected) => {
    expect(AddressRules.parse(allowCsv).isAllowed(address)).toBe(expected);
  });

  it('with everything allowed, and what carries other addresses by name, allows every address', () => {
    const all = AddressRules.parse('0.0.0.0/0,::/0,64:ff9b:1::/48,::ffff:0:0:0/96');
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
        expect(all.isAllowed(address), address).toBe(true);
      }),
    );
  });

  it('with a range allowed is the same for everything outside of it', () => {
    const rules = AddressRules.parse('10.1.0.0/16');
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
        fc.pre(!/^10\.1\.|0?a01:|10\.1\.[\d.]+$/i.test(address));
        expect(rules.isAllowed(address), address).toBe(publicOnly.isAllowed(address));
      }),
    );
  });

  it.each(['10.0.0.0/33', '10.1.2.3/8', 'localhost', '*'])('refuses the range "%s" by name', (range) => {
    const parse = () => AddressRules.parse(`127.0.0.0/8,${range}`);
    expect(parse).toThrow(InvalidAddressRange);
    expect(parse).toThrow(`"${range}"`);
  });
});

it.each([
  ['https://example.com/hook', 'example.com'],
  ['http://EXAMPLE.com.:8080/other?query', 'example.com'],
  ['https://ex%61mple.com../', 'example.com'],
  ['https://bücher.example/', 'xn--bcher-kva.example'],
  ['http://198.51.100.7/', '198.51.100.7'],
  ['http://0xc6336407/', '198.51.100.7'],
  ['http://[::ffff:198.51.100.7]/', '198.51.100.7'],
  ['http://[64:ff9b::198.51.100.7]:8080/', '198.51.100.7'],
  ['http://localhost:3000/', null],
  ['http://10.1.2.3/', null],
  ['http://[::ffff:10.1.2.3]/', null],
])('the host of %s is %s', (url, host) =>
  expect(AddressRules.parse('10.0.0.0/8,127.0.0.0/8').hostOf(parseTargetUrl(url))).toBe(host),
);
