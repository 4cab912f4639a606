import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AddressRules,
  InvalidAddressRange,
  InvalidTargetUrl,
  literalAddress,
  parseTargetUrl,
} from '../../../src/domain/target-address.js';

const publicOnly = AddressRules.parse('');

const PUBLIC = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '169.253.255.255',
  '169.255.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.0.1.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '2606:4700:4700::1111',
  '2001:200::1',
  '2001:4860:4860::8888',
  '3fff:1000::1',
];

const FORBIDDEN = [
  '0.0.0.0',
  '0.255.255.255',
  '10.0.0.0',
  '10.255.255.255',
  '100.64.0.0',
  '100.127.255.255',
  '127.0.0.1',
  '127.255.255.255',
  '169.254.0.0',
  '169.254.169.254',
  '172.16.0.0',
  '172.31.255.255',
  '192.0.0.8',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.0.1',
  '198.18.0.0',
  '198.19.255.255',
  '198.51.100.7',
  '203.0.113.7',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '0:0:0:0:0:0:0:1',
  '100::1',
  '2001::1',
  '2001:1ff:ffff::1',
  '2001:2::1',
  '2001:db8::1',
  '2001:DB8:ffff::1',
  '3fff::1',
  '3fff:fff::1',
  '4000::1',
  '5f00::1',
  'fc00::1',
  'fd12:3456::1',
  'fe80::1',
  'fe80::1%eth0',
  'febf::1',
  'fec0::1',
  'ff02::1',
  'fd00:ec2::254',
  '::7f00:1',
  '::8.8.8.8',
  '::ffff:0:8.8.8.8',
  '64:ff9b:1::808:808',
  '2001:0:808:808:0:0:f7f7:f7f7',
];

describe('AddressRules', () => {
  it.each(PUBLIC)('allows %s', (address) => expect(publicOnly.isAllowed(address)).toBe(true));
  it.each(FORBIDDEN)('forbids %s', (address) => expect(publicOnly.isAllowed(address)).toBe(false));
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

  it('never allows an address that carries a private one, in whatever way', () => {
    for (const carrier of ['::ffff:', '::', '64:ff9b::', '64:ff9b:1::', '::ffff:0:']) {
      expect(publicOnly.isAllowed(`${carrier}10.0.0.1`), carrier).toBe(false);
    }
    expect(publicOnly.isAllowed('2002:a00:1::')).toBe(false);
    expect(publicOnly.isAllowed('2001:0:4136:e378:8000:63bf:f5ff:fffe')).toBe(false);
  });

  it.each([
    ['127.0.0.0/8', '127.0.0.1', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1', true],
    ['127.0.0.0/8', '::1', false],
    ['127.0.0.0/8', '10.0.0.1', false],
    ['127.0.0.0/8, ::1', '::1', true],
    ['127.0.0.0/8, ::1/128', '::2', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.4', false],
    ['10.1.2.3/8', '10.255.0.1', true],
    [' 10.0.0.0/8 ,, 192.168.0.0/16,', '192.168.7.7', true],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fc12::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1%1', true],
    ['0.0.0.0/0', '169.254.169.254', true],
    ['0.0.0.0/0', 'fe80::1', false],
    ['::/0', 'fe80::1', true],
    ['::/0', '10.0.0.1', false],
    ['64:ff9b:1::/48', '64:ff9b:1::a00:1', true],
    ['127.0.0.0/8', '8.8.8.8', true],
  ])('with "%s" allowed, %s: %s', (allowCsv, address, expected) => {
    expect(AddressRules.parse(allowCsv).isAllowed(address)).toBe(expected);
  });

  it.each([
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    'localhost',
    'fe80::1%eth0/64',
    '*',
  ])('refuses the range "%s" by name', (range) => {
    const parse = () => AddressRules.parse(`127.0.0.0/8,${range}`);
    expect(parse).toThrow(InvalidAddressRange);
    expect(parse).toThrow(`"${range}"`);
  });
});

describe('parseTargetUrl', () => {
  it.each([
    ['https://example.com/hook', 'https://example.com/hook'],
    ['http://example.com', 'http://example.com/'],
    ['HTTPS://Example.COM:8443/a?b=c', 'https://example.com:8443/a?b=c'],
    ['https://example.com/%20/ü', 'https://example.com/%20/%C3%BC'],
    ['https://bücher.example/', 'https://xn--bcher-kva.example/'],
    ['http://[::1]:3000/', 'http://[::1]:3000/'],
    [`https://example.com/${'a'.repeat(2028)}`, `https://example.com/${'a'.repeat(2028)}`],
  ])('takes %s', (input, href) => expect(parseTargetUrl(input).href).toBe(href));

  it.each([
    ['', 'https://'],
    ['example.com/hook', 'https://'],
    ['/hook', 'https://'],
    ['ftp://example.com/', 'https://'],
    ['file:///etc/passwd', 'https://'],
    ['javascript:alert(1)', 'https://'],
    ['https:example.com', 'https://'],
    ['https://', 'host'],
    ['https:///hook', 'host'],
    ['https://?x', 'host'],
    ['https://:80/', 'URL'],
    ['https://exa mple.com/', 'spaces'],
    [' https://example.com/', 'spaces'],
    ['https://example.com/\n', 'control'],
    ['https://example.com/\t', 'control'],
    ['https://example.com/\u0000', 'control'],
    ['https://example.com/\u0085', 'control'],
    ['https://user@example.com/', 'user name'],
    ['https://user:secret@example.com/', 'user name'],
    ['https://:secret@example.com/', 'user name'],
    ['https://example.com/#part', 'fragment'],
    ['https://example.com/#', 'fragment'],
    ['https://example.com:99999/', 'URL'],
    ['https://1.2.3.4.5/', 'URL'],
    ['https://[::1/', 'URL'],
    [`https://example.com/${'a'.repeat(2029)}`, '2048'],
  ])('refuses %j', (input, hint) => {
    const parse = () => parseTargetUrl(input);
    expect(parse).toThrow(InvalidTargetUrl);
    expect(parse).toThrow(hint);
  });

  it('gives a usable URL or its own error, whatever the input', () => {
    const inputs = fc.oneof(
      fc.string({ unit: 'binary-ascii' }),
      fc
        .tuple(
          fc.constantFrom('http://', 'https://', 'https://user@', 'http://[::', 'http://127.'),
          fc.string(),
        )
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(inputs, (input) => {
        try {
          const url = parseTargetUrl(input);
          expect(['http:', 'https:']).toContain(url.protocol);
          expect(url.hostname).not.toBe('');
          expect(url.username + url.password + url.hash).toBe('');
        } catch (error) {
          if (!(error instanceof InvalidTargetUrl)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('literalAddress', () => {
  it.each([
    ['http://127.0.0.1/', '127.0.0.1'],
    ['http://127.0.0.1./', '127.0.0.1'],
    ['http://127.1/', '127.0.0.1'],
    ['http://2130706433/', '127.0.0.1'],
    ['http://0x7f.0.0.1/', '127.0.0.1'],
    ['http://017700000001/', '127.0.0.1'],
    ['http://127。0。0。1/', '127.0.0.1'],
    ['http://0/', '0.0.0.0'],
    ['http://[::1]/', '::1'],
    ['http://[::ffff:127.0.0.1]/', '::ffff:7f00:1'],
    ['http://[0:0:0:0:0:0:0:1]/', '::1'],
    ['http://example.com/', null],
    ['http://localhost/', null],
    ['http://127.0.0.1.example.com/', null],
  ])('of %s is %s', (input, expected) => expect(literalAddress(parseTargetUrl(input))).toBe(expected));
});
