import { AddressRanges } from './address-ranges.js';
import { type IpAddress, ipv4, parseIpAddress } from './ip-address.js';

/**
 * IANA IPv4 Special-Purpose Address Registry and multicast. The blocks that the registry calls globally reachable are
 * in it: anycast to whatever is nearest, which may be the operator's own.
 */
const SPECIAL_IPV4 = [
  '0.0.0.0/8', // this network, RFC 791
  '10.0.0.0/8', // private, RFC 1918
  '100.64.0.0/10', // carrier-grade NAT, RFC 6598; holds Alibaba's metadata service, 100.100.100.200
  '127.0.0.0/8', // loopback, RFC 1122
  '169.254.0.0/16', // link-local, RFC 3927; holds the metadata services of most clouds, 169.254.169.254
  '172.16.0.0/12', // private, RFC 1918
  '192.0.0.0/24', // IETF protocol assignments, RFC 6890; holds Oracle's metadata service, 192.0.0.192
  '192.0.2.0/24', // documentation, RFC 5737
  '192.31.196.0/24', // AS112, RFC 7535
  '192.52.193.0/24', // multicast tunnels, RFC 7450
  '192.88.99.0/24', // 6to4 relay anycast, RFC 7526
  '192.168.0.0/16', // private, RFC 1918
  '192.175.48.0/24', // AS112, RFC 7534
  '198.18.0.0/15', // benchmarking, RFC 2544
  '198.51.100.0/24', // documentation, RFC 5737
  '203.0.113.0/24', // documentation, RFC 5737
  '224.0.0.0/4', // multicast, RFC 5771
  '240.0.0.0/4', // reserved, RFC 1112; holds the broadcast address
];

/**
 * Public by their numbers, but each answers only from inside the network of its cloud, with what is meant for the
 * machines there. No server of anyone else has such an address.
 */
const CLOUD_SERVICES = [
  '34.126.0.0/18', // Google: direct connectivity to its APIs from a VPC
  '161.26.0.0/16', // IBM: DNS, mirrors and other services of the private network
  '166.8.0.0/14', // IBM: private endpoints of its cloud services
  '168.63.129.16', // Azure: the agent of the host that a virtual machine runs on
  '192.80.8.124', // Equinix Metal (Packet): metadata service
  '199.36.153.4/30', // Google: restricted.googleapis.com
  '199.36.153.8/30', // Google: private.googleapis.com
  '2001:4860:8040::/42', // Google: direct connectivity
  '2600:2d00:2:1000::/64', // Google: restricted.googleapis.com
  '2600:2d00:2:2000::/64', // Google: private.googleapis.com
];

/**
 * IANA IPv6 Special-Purpose Address Registry. Only 2000::/3 is global unicast (RFC 4291), so all around it goes as
 * a whole: ::, ::1, IPv4-compatible, translated ::ffff:0:0:0/96 (RFC 2765), local NAT64 64:ff9b:1::/48, discard
 * 100::/64, dummy 100:0:0:1::/64, SRv6 5f00::/16, unique local fc00::/7 with the metadata services of AWS
 * (fd00:ec2::254), Google (fd20:ce::254), Scaleway (fd00:42::42) and Linode (fd00:a9fe:a9fe::1), link-local fe80::/10, site-local fec0::/10, multicast ff00::/8.
 */
const SPECIAL_IPV6 = [
  '::/3',
  '2001::/23', // IETF protocol assignments, RFC 2928; holds Teredo 2001::/32
  '2001:db8::/32', // documentation, RFC 3849
  '2620:4f:8000::/48', // AS112, RFC 7534
  '3ffe::/16', // returned by the 6bone, RFC 3701
  '3fff::/20', // documentation, RFC 9637
  '4000::/2',
  '8000::/1',
];

const SPECIAL = AddressRanges.parse([...SPECIAL_IPV4, ...CLOUD_SERVICES, ...SPECIAL_IPV6]);

/** Which addresses Posthorn may call: public ones, and what the operator allows. */
export class AddressRules {
  private constructor(private readonly allowed: AddressRanges) {}

  /**
   * @param allowCsv CIDRs or single addresses separated by commas, such as `10.0.0.0/8, fd00::/8`; may be empty
   * @throws InvalidAddressRange naming the entry that is neither
   */
  static parse(allowCsv: string): AddressRules {
    const entries = allowCsv.split(',').map((entry) => entry.trim());
    return new AddressRules(AddressRanges.parse(entries.filter((entry) => entry !== '')));
  }

  /**
   * Whether a connection to this address (as DNS or the URL gave it) may be opened. An IPv6 address that carries an
   * IPv4 address is judged by the one that it reaches, and where that cannot be told it is not allowed, unless the
   * operator allows addresses of that very kind. What is no IP address is not allowed.
   */
  isAllowed(address: string): boolean {
    const parsed = parseIpAddress(address);
    if (parsed === null) return false;
    const carrier = CARRIERS.find(({ holds }) => holds.includes(parsed));
    if (carrier && this.allowed.includesWithin(parsed, carrier.holds)) return true;
    if (carrier?.carriedAt === null) return false;
    return reachedBy(parsed, carrier?.carriedAt).every((reached) => this.mayReach(reached));
  }

  /** Whether the operator allows it by name, as a part of the operator's own network. */
  isOfOperator(address: string): boolean {
    return this.allowed.has(address);
  }

  private mayReach(address: IpAddress): boolean {
    return this.allowed.includes(address) || !SPECIAL.includes(address);
  }
}

/**
 * NAT64 (RFC 6052) and 6to4 (RFC 3056) are taken off on the way, and the IPv4 address in them is what they reach, so
 * many bits from the right. In local NAT64 (RFC 8215) it is where the length of the operator's prefix puts it, which
 * nobody here knows, and in what is translated (RFC 2765) where the network wants it: null.
 */
const CARRIERS = [
  { holds: AddressRanges.parse(['64:ff9b::/96']), carriedAt: 0n },
  { holds: AddressRanges.parse(['2002::/16']), carriedAt: 80n },
  { holds: AddressRanges.parse(['64:ff9b:1::/48']), carriedAt: null },
  { holds: AddressRanges.parse(['::ffff:0:0:0/96']), carriedAt: null },
];

/**
 * Where packets to this address may end up. ISATAP (RFC 5214), ::0:5efe:a.b.c.d or ::200:5efe:a.b.c.d under any prefix,
 * carries an IPv4 address only in a network that uses it. Other forms (compatible, Teredo) are special as a whole.
 */
function reachedBy(address: IpAddress, carriedAt?: bigint): IpAddress[] {
  const { version, value } = address;
  if (version === 4) return [address];
  if (carriedAt !== undefined) return [ipv4(value >> carriedAt)];
  const interfaceKind = (value >> 32n) & 0xfdff_ffffn;
  return interfaceKind === 0x5efen ? [address, ipv4(value)] : [address];
}
