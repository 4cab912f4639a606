import { AddressRanges, InvalidAddressRange } from './address-ranges.js';
import { type IpAddress, ipv4, parseIpAddress } from './ip-address.js';

/** A range of IPv6 addresses that stand for IPv4 addresses. */
export interface Ipv4Carrier {
  holds: AddressRanges;
  /** The IPv4 address that an address of the range reaches; null where only the operator's network knows it. */
  carried: ((value: bigint) => IpAddress) | null;
}

/** In bits, RFC 6052 section 2.2. */
const NAT64_LENGTHS = [32, 40, 48, 56, 64, 96];

/**
 * In local NAT64 (RFC 8215) the IPv4 address is where the length of the operator's prefix puts it, which is known when
 * it is one of NAT64_PREFIXES, and in what is translated (RFC 2765) where the network wants it.
 */
export const CARRIERS: readonly Ipv4Carrier[] = [
  nat64Carrier('64:ff9b::/96'), // RFC 6052
  { holds: AddressRanges.parse(['2002::/16']), carried: (value) => ipv4(value >> 80n) }, // 6to4, RFC 3056
  { holds: AddressRanges.parse(['64:ff9b:1::/48']), carried: null },
  { holds: AddressRanges.parse(['::ffff:0:0:0/96']), carried: null },
];

/**
 * What a NAT64 gateway translates: the IPv4 address comes after the prefix, but for bits 64 to 71, which are none of it
 * (RFC 6052 section 2.2).
 * @throws InvalidAddressRange unless it is an IPv6 CIDR with one of the lengths of the RFC
 */
export function nat64Carrier(prefix: string): Ipv4Carrier {
  const holds = AddressRanges.parse([prefix]);
  const [address = '', digits] = prefix.split('/');
  const length = Number(digits);
  if (parseIpAddress(address)?.version !== 6 || !NAT64_LENGTHS.includes(length)) {
    throw new InvalidAddressRange(
      `"${prefix}" is no prefix of a NAT64: write an IPv6 CIDR with a length of ${NAT64_LENGTHS.join(', ')}`,
    );
  }
  if (length === 96) return { holds, carried: ipv4 };
  const shift = BigInt(120 - length - 32);
  return { holds, carried: (value) => ipv4((((value >> 64n) << 56n) | BigInt.asUintN(56, value)) >> shift) };
}

/**
 * The address at the other end of a Teredo tunnel (RFC 4380 section 4), null of any other address. Such addresses are
 * called only where the operator allows them.
 */
export function teredoClient(value: bigint): IpAddress | null {
  return value >> 96n === 0x2001_0000n ? ipv4(~value) : null;
}
