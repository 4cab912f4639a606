import { BlockList, isIP, isIPv6 } from 'node:net';

/**
 * IANA IPv4 Special-Purpose Address Registry, without the few blocks that it calls globally reachable, and
 * multicast. Link-local holds the metadata service of the clouds, 169.254.169.254.
 */
const SPECIAL_IPV4 = [
  '0.0.0.0/8', // this network, RFC 791
  '10.0.0.0/8', // private, RFC 1918
  '100.64.0.0/10', // carrier-grade NAT, RFC 6598
  '127.0.0.0/8', // loopback, RFC 1122
  '169.254.0.0/16', // link-local, RFC 3927
  '172.16.0.0/12', // private, RFC 1918
  '192.0.0.0/24', // IETF protocol assignments, RFC 6890
  '192.0.2.0/24', // documentation, RFC 5737
  '192.88.99.0/24', // 6to4 relay anycast, RFC 7526
  '192.168.0.0/16', // private, RFC 1918
  '198.18.0.0/15', // benchmarking, RFC 2544
  '198.51.100.0/24', // documentation, RFC 5737
  '203.0.113.0/24', // documentation, RFC 5737
  '224.0.0.0/4', // multicast, RFC 5771
  '240.0.0.0/4', // reserved, RFC 1112; holds the broadcast address
];

/**
 * IANA IPv6 Special-Purpose Address Registry. Only 2000::/3 is global unicast (RFC 4291), so all around it goes as
 * a whole: ::, ::1, IPv4-compatible, local NAT64 64:ff9b:1::/48, discard 100::/64, SRv6 5f00::/16, unique local
 * fc00::/7, link-local fe80::/10, site-local fec0::/10, multicast ff00::/8.
 */
const SPECIAL_IPV6 = [
  '::/3',
  '2001::/23', // IETF protocol assignments, RFC 2928; holds Teredo 2001::/32
  '2001:db8::/32', // documentation, RFC 3849
  '3fff::/20', // documentation, RFC 9637
  '4000::/2',
  '8000::/1',
];

const MAX_URL_LENGTH = 2048;

/** A range that is no CIDR; the message names it. */
export class InvalidAddressRange extends Error {
  override readonly name = 'InvalidAddressRange';
}

/** A target URL that no subscription may have; the message says what to write instead. */
export class InvalidTargetUrl extends Error {
  override readonly name = 'InvalidTargetUrl';
}

/** Which addresses Posthorn may call: public ones, and what the operator allows. */
export class AddressRules {
  private constructor(private readonly allowed: AddressSet) {}

  /**
   * @param allowCsv CIDRs or single addresses separated by commas, such as `10.0.0.0/8, fd00::/8`; may be empty
   * @throws InvalidAddressRange naming the entry that is neither
   */
  static parse(allowCsv: string): AddressRules {
    const entries = allowCsv.split(',').map((entry) => entry.trim());
    return new AddressRules(new AddressSet(entries.filter((entry) => entry !== '')));
  }

  /**
   * Whether a connection to this address (as DNS or the URL gave it) may be opened. An IPv6 address that carries an
   * IPv4 address is judged by the one that it reaches. What is no IP address is not allowed.
   */
  isAllowed(address: string): boolean {
    const bare = address.replace(/%.*$/s, ''); // the zone of a link-local address
    if (isIP(bare) === 0) return false;
    const reached = (isIPv6(bare) ? embeddedIpv4(bare) : null) ?? bare;
    return this.allowed.has(bare) || this.allowed.has(reached) || !SPECIAL.has(reached);
  }
}

/**
 * The URL of a subscription's target, normalised as WHATWG URL does (so 127.1, 0x7f000001 and 2130706433 come out as
 * 127.0.0.1).
 *
 * @throws InvalidTargetUrl unless it is absolute, http or https, of at most 2,048 characters, and without
 *   credentials, fragment, whitespace and control characters
 */
export function parseTargetUrl(input: string): URL {
  if (input.length > MAX_URL_LENGTH) {
    throw new InvalidTargetUrl(`must have at most ${MAX_URL_LENGTH} characters`);
  }
  // Before parsing: WHATWG URL drops tabs and newlines without a word.
  if (/[\s\p{Cc}]/u.test(input)) {
    throw new InvalidTargetUrl('must not hold spaces or control characters: percent-encode them');
  }
  if (!/^https?:\/\/[^/\\?]/i.test(input)) {
    throw new InvalidTargetUrl('must begin with https:// or http:// and a host');
  }
  if (input.includes('#')) throw new InvalidTargetUrl('must have no fragment: leave out # and what follows');
  if (!URL.canParse(input)) throw new InvalidTargetUrl('must be a URL such as https://example.com/hook');
  const url = new URL(input);
  if (url.username !== '' || url.password !== '') {
    throw new InvalidTargetUrl('must have no user name or password: use the headers of the subscription');
  }
  return url;
}

/**
 * The IP address that the URL names instead of a host name, IPv6 without brackets; null if it is a name. WHATWG URL
 * has made every spelling of an IPv4 address, a trailing dot included, into the dotted one.
 */
export function literalAddress(url: URL): string | null {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(host) === 0 ? null : host;
}

/** Two lists, since a BlockList takes an IPv4 address for its mapped IPv6 form and would find it in `::/3`. */
class AddressSet {
  private readonly ipv4 = new BlockList();
  private readonly ipv6 = new BlockList();

  constructor(ranges: readonly string[]) {
    for (const range of ranges) this.add(range);
  }

  has(address: string): boolean {
    return isIPv6(address) ? this.ipv6.check(address, 'ipv6') : this.ipv4.check(address, 'ipv4');
  }

  private add(range: string): void {
    const [, address = '', digits] = /^([\da-f.:]+)(?:\/(\d{1,3}))?$/i.exec(range) ?? [];
    const version = isIP(address);
    const bits = version === 6 ? 128 : 32;
    const prefix = digits === undefined ? bits : Number(digits);
    if (version === 0 || prefix > bits) {
      throw new InvalidAddressRange(
        `"${range}" is no address range: write a CIDR such as 10.0.0.0/8 or fd00::/8`,
      );
    }
    if (version === 6) this.ipv6.addSubnet(address, prefix, 'ipv6');
    else this.ipv4.addSubnet(address, prefix, 'ipv4');
  }
}

const SPECIAL = new AddressSet([...SPECIAL_IPV4, ...SPECIAL_IPV6]);

/**
 * The IPv4 address that packets to this IPv6 address end up at: mapped ::ffff:0:0/96 (RFC 4291), NAT64 64:ff9b::/96
 * (RFC 6052), 6to4 2002::/16 (RFC 3056). The other forms that carry one (compatible, Teredo, local NAT64) are special
 * as a whole.
 */
function embeddedIpv4(address: string): string | null {
  const groups = ipv6Groups(address);
  const prefix = groups
    .slice(0, 6)
    .map((group) => group.toString(16))
    .join(':');
  if (prefix === '0:0:0:0:0:ffff' || prefix === '64:ff9b:0:0:0:0') return dotted(groups[6], groups[7]);
  return groups[0] === 0x2002 ? dotted(groups[1], groups[2]) : null;
}

/** The eight 16-bit groups of a valid IPv6 address in any of its spellings (RFC 4291 section 2.2). */
function ipv6Groups(address: string): number[] {
  const [head = '', tail] = address
    .replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a: string, b: string, c: string, d: string) =>
      [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((group) => group.toString(16)).join(':'),
    )
    .split('::');
  const parse = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = parse(head);
  const after = parse(tail ?? '');
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function dotted(high = 0, low = 0): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}
