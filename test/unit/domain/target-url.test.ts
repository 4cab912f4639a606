import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressRules } from '../../../src/domain/target-address.js';
import { InvalidTargetUrl, knownAddresses, parseTargetUrl } from '../../../src/domain/target-url.js';

/** As undici's fetch has them, in ascending order. */
const { badPorts } = createRequire(import.meta.url)('undici/lib/web/fetch/constants.js') as {
  badPorts: string[];
};

describe('parseTargetUrl', () => {
  it.each([
    ['https://example.com/hook', 'https://example.com/hook'],
    ['http://example.com', 'http://example.com/'],
    ['https://example.com:65535/', 'https://example.com:65535/'],
    ['http://example.com:443/', 'http://example.com:443/'],
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
    ['data:text/plain,x', 'https://'],
    ['gopher://example.com/', 'https://'],
    ['ws://example.com/', 'https://'],
    ['httpss://example.com/', 'https://'],
    ['view-source:https://example.com/', 'https://'],
    ['//example.com/', 'https://'],
    ['https:/example.com/', 'https://'],
    ['https:\\\\example.com/', 'https://'],
    ['https://\\example.com/', 'host'],
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
    ['https://example.com@10.0.0.1/', 'user name'],
    ['https://example.com:443@10.0.0.1/', 'user name'],
    ['https://user%40example.com@10.0.0.1/', 'user name'],
    ['https://example.com/#part', 'fragment'],
    ['https://example.com/#', 'fragment'],
    ['https://example.com:99999/', 'URL'],
    ['https://1.2.3.4.5/', 'URL'],
    ['https://[::1/', 'URL'],
    ['https://[fe80::1%25eth0]/', 'URL'],
    ['https://[fe80::1%eth0]/', 'URL'],
    ['https://[::ffff:127.1]/', 'URL'],
    ['https://[v1.example]/', 'URL'],
    ['https://256.0.0.1/', 'URL'],
    ['https://0x100000000/', 'URL'],
    ['https://08.8.8.8/', 'URL'],
    ['https://127.0.0.1%00.example.com/', 'URL'],
    ['https://example.com%2f.example.net/', 'URL'],
    ['https://example.com:8o/', 'URL'],
    ['https://example.com:0/', 'port 0'],
    ['https://example.com:00000/', 'port 0'],
    ['https://example.com:22/', 'port 22'],
    ['http://example.com:025/', 'port 25'],
    ['http://example.com:6000/', 'port 6000'],
    ['http://example.com:6667/', 'port 6667'],
    ['http://example.com:10080/', 'port 10080'],
    [`https://example.com/${'a'.repeat(2029)}`, '2048'],
  ])('refuses %j', (input, hint) => {
    const parse = () => parseTargetUrl(input);
    expect(parse).toThrow(InvalidTargetUrl);
    expect(parse).toThrow(hint);
  });

  it('refuses port 0 and the ports that the Fetch standard blocks, and no other', () => {
    const blocked = Array.from({ length: 65_536 }, (_, port) => port).filter((port) => {
      try {
        parseTargetUrl(`http://example.com:${port}/`);
        return false;
      } catch {
        return true;
      }
    });
    expect(blocked).toEqual([0, ...badPorts.map(Number)]);
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

describe('knownAddresses', () => {
  it.each([
    ['dotted', '127.0.0.1'],
    ['a trailing dot', '127.0.0.1.'],
    ['two parts', '127.1'],
    ['three parts', '127.0.1'],
    ['decimal', '2130706433'],
    ['hexadecimal', '0x7f000001'],
    ['upper-case hexadecimal', '0X7F000001'],
    ['octal', '017700000001'],
    ['hexadecimal parts', '0x7f.0x0.0x0.0x1'],
    ['octal parts', '0177.0.0.01'],
    ['mixed parts', '0x7f.0.1'],
    ['empty hexadecimal parts', '0x7f.0x.0x.1'],
    ['leading zeros', '0000177.0.0.1'],
    ['percent-encoded digits', '%31%32%37.0.0.1'],
    ['percent-encoded dots', '127%2e0%2E0%2e1'],
    ['a percent-encoded decimal', '%32130706433'],
    ['full-width digits', '１２７.０.０.１'],
    ['full-width dots', '127．0．0．1'],
    ['ideographic dots', '127。0。0。1'],
    ['half-width dots', '127｡0｡0｡1'],
    ['circled digits', '①②⑦.⓪.⓪.①'],
    ['superscript digits', '¹²⁷.⁰.⁰.¹'],
    ['percent-encoded full-width digits', '%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1'],
    ['a soft hyphen', '127.0.0\u00ad.1'],
    ['a zero-width space', '127.0.0\u200b.1'],
    ['a decimal in full width', '２１３０７０６４３３'],
    ['hexadecimal in full width', '０ｘ７ｆ０００００１'],
  ])('of an IPv4 address as %s', (_, host) => {
    expect(knownAddresses(parseTargetUrl(`http://${host}/`))).toEqual(['127.0.0.1']);
  });

  it.each([
    ['[::1]', '::1'],
    ['[0:0:0:0:0:0:0:1]', '::1'],
    ['[0000:0000:0000:0000:0000:0000:0000:0001]', '::1'],
    ['[FD00:EC2::254]', 'fd00:ec2::254'],
    ['[::ffff:127.0.0.1]', '::ffff:7f00:1'],
    ['[::FFFF:7F00:1]', '::ffff:7f00:1'],
    ['[::127.0.0.1]', '::7f00:1'],
    ['[::ffff:0:127.0.0.1]', '::ffff:0:7f00:1'],
    ['[64:ff9b::127.0.0.1]', '64:ff9b::7f00:1'],
    ['0', '0.0.0.0'],
    ['0x', '0.0.0.0'],
    ['0xa9fea9fe', '169.254.169.254'],
    ['2852039166', '169.254.169.254'],
  ])('of %s is %s', (host, address) => {
    expect(knownAddresses(parseTargetUrl(`http://${host}:8080/x`))).toEqual([address]);
  });

  it.each([
    'localhost',
    'LOCALHOST',
    'localhost.',
    'api.localhost',
    'a.b.localhost.',
    'ｌocalhost',
    '%6cocalhost',
  ])('of %s are those of loopback', (host) =>
    expect(knownAddresses(parseTargetUrl(`http://${host}/`))).toEqual(['127.0.0.1', '::1']),
  );

  it.each([
    'example.com',
    'notlocalhost',
    'localhost.example.com',
    '127.0.0.1.example.com',
    '127.0.0.1.nip.io',
    '1.2.3.4a',
    'internal',
  ])('of %s are for DNS to say', (host) => {
    expect(knownAddresses(parseTargetUrl(`http://${host}/`))).toEqual([]);
  });

  it('are an address that is judged as it stands, in whatever spelling an IPv4 address comes', () => {
    const part = (value: number) =>
      fc.constantFrom(
        String(value),
        `0x${value.toString(16)}`,
        `0X${value.toString(16)}`,
        `0${value.toString(8)}`,
      );
    const byte = fc.nat(255);
    const spelled = fc
      .tuple(byte, byte, byte, byte, fc.integer({ min: 1, max: 4 }))
      .chain(([a, b, c, d, count]) => {
        const bytes = [a, b, c, d];
        // The last part stands for all bytes that are left (WHATWG URL, IPv4 parser).
        const rest = bytes.slice(count - 1).reduce((value, each) => value * 256 + each, 0);
        const numbers = [...bytes.slice(0, count - 1), rest];
        return fc.record({
          expected: fc.constant(bytes.join('.')),
          host: fc.tuple(...numbers.map(part), fc.constantFrom('', '.')).map((parts) => {
            const dot = parts.pop();
            return `${parts.join('.')}${dot}`;
          }),
        });
      });
    fc.assert(
      fc.property(spelled, ({ expected, host }) => {
        const disguises = [
          host,
          [...host].map((sign) => `%${sign.charCodeAt(0).toString(16)}`).join(''),
          [...host].map((sign) => String.fromCharCode(sign.charCodeAt(0) + 0xfee0)).join(''),
        ];
        for (const each of disguises) {
          const known = knownAddresses(parseTargetUrl(`http://${each}/`));
          expect(known, each).toEqual([expected]);
          expect(AddressRules.parse('').isAllowed(known[0]!), each).toBe(
            AddressRules.parse('').isAllowed(expected),
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});
