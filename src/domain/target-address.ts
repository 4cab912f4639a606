import { AddressRanges } from './address-ranges.js';
import { groupOf, type IpAddress, ipv4, parseIpAddress } from './ip-address.js';
import { knownAddresses } from './target-url.js';
import { CARRIERS, type Ipv4Carrier, nat64Carrier, teredoClient } from './ipv4-carriers.js';

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
  private constructor(
    private readonly allowed: AddressRanges,
    private readonly nat64: readonly Ipv4Carrier[] = [],
  ) {}

  /**
   * @param allowCsv CIDRs or single addresses separated by commas, such as `10.0.0.0/8, fd00::/8`; may be empty
   * @throws InvalidAddressRange naming the entry that is neither
   */
  static parse(allowCsv: string): AddressRules {
    const entries = allowCsv.split(',').map((entry) => entry.trim());
    return new AddressRules(AddressRanges.parse(entries.filter((entry) => entry !== '')));
  }

  /**
   * The same rules in a network whose NAT64 gateways have these prefixes.
   * @throws InvalidAddressRange naming the prefix that is none
   */
  withNat64(prefixes: readonly string[]): AddressRules {
    return new AddressRules(this.allowed, prefixes.map(nat64Carrier));
  }

  /**
   * Whether a connection to this address (as DNS or the URL gave it) may be opened. An IPv6 address that carries an
   * IPv4 address is judged by the one that it reaches, and where that cannot be told it is not allowed, unless the
   * operator allows addresses of that very kind. What is no IP address is not allowed.
   */
  isAllowed(address: string): boolean {
    const parsed = parseIpAddress(address);
    if (parsed === null) return false;
    const carrier = this.carrierOf(parsed);
    if (carrier && this.allowed.includesWithin(parsed, carrier.holds)) return true;
    if (carrier) return carrier.carried !== null && this.mayReach(carrier.carried(parsed.value));
    return reachedBy(parsed).every((reached) => this.mayReach(reached));
  }

  /**
   * By what requests to this address are counted, whatever the host is called: the IPv4 address, also of an IPv6 address
   * that carries one, else the /64, of which one host may have every address. What is no address stands for itself.
   */
  destinationOf(address: string): string {
    const reached = this.endOf(address);
    return reached === null ? address : groupOf(reached);
  }

  /** Whether requests to this address end in what the operator allows, the operator's own network. */
  isOfOperator(address: string): boolean {
    const reached = this.endOf(address);
    return reached !== null && this.allowed.includes(reached);
  }

  /**
   * By what subscriptions to a target URL are counted: its host, or the destination of its address; null within the
   * operator's own network. Port, path and query are left out, since a server is the same by all of them.
   */
  hostOf(url: URL): string | null {
    const [known] = knownAddresses(url);
    if (known === undefined) return url.hostname.replace(/\.+$/, '');
    return this.isOfOperator(known) ? null : this.destinationOf(known);
  }

  private endOf(address: string): IpAddress | null {
    const parsed = parseIpAddress(address);
    if (parsed?.version !== 6) return parsed;
    return this.carrierOf(parsed)?.carried?.(parsed.value) ?? teredoClient(parsed.value) ?? parsed;
  }

  private carrierOf(address: IpAddress): Ipv4Carrier | undefined {
    const holdsIt = ({ holds }: Ipv4Carrier): boolean => holds.includes(address);
    return this.nat64.find(holdsIt) ?? CARRIERS.find(holdsIt);
  }

  private mayReach(address: IpAddress): boolean {
    return this.allowed.includes(address) || !SPECIAL.includes(address);
  }
}

/**
 * Where packets to this address may end up. ISATAP (RFC 5214), ::0:5efe:a.b.c.d or ::200:5efe:a.b.c.d under any prefix,
 * carries an IPv4 address only in a network that uses it. Other forms (compatible, Teredo) are special as a whole.
 */
function reachedBy(address: IpAddress): IpAddress[] {
  const { version, value } = address;
  if (version === 4) return [address];
  const interfaceKind = (value >> 32n) & 0xfdff_ffffn;
  return interfaceKind === 0x5efen ? [address, ipv4(value)] : [address];
}
