import { isIP } from 'node:net';
import type { FieldError } from './errors.js';
import { type IpAddress, parseIpAddress } from './ip-address.js';

/** A range that is no CIDR; the message names it and says what to write instead. */
export class InvalidAddressRange extends Error {
  override readonly name = 'InvalidAddressRange';
}

interface Range {
  version: 4 | 6;
  first: bigint;
  last: bigint;
}

/**
 * An immutable set of IP addresses, made of CIDR ranges (RFC 4632, RFC 4291 section 2.3). An IPv4-mapped IPv6 address
 * counts as its IPv4 address, in the ranges as in what is looked for. So `0.0.0.0/0` is all of IPv4, `::/0` all of
 * IPv6, and neither holds the other.
 */
export class AddressRanges {
  private constructor(private readonly ranges: readonly Range[]) {}

  /**
   * @param list CIDRs such as `10.0.0.0/8`, or single addresses
   * @throws InvalidAddressRange naming the entry that is neither, or whose address has bits set beyond the prefix:
   *   10.1.2.3/8 is hardly meant as sixteen million addresses
   */
  static parse(list: readonly string[]): AddressRanges {
    return new AddressRanges(list.map(parseRange));
  }

  /** Whether the address, in any spelling and with or without a zone, is in a range; what is no address is in none. */
  has(address: string): boolean {
    const parsed = parseIpAddress(address);
    return parsed !== null && this.includes(parsed);
  }

  includes({ version, value }: IpAddress): boolean {
    return this.ranges.some(
      (range) => range.version === version && range.first <= value && value <= range.last,
    );
  }

  /** As `includes`, but only by ranges that lie in one of the others as a whole. */
  includesWithin(address: IpAddress, outer: AddressRanges): boolean {
    const inner = this.ranges.filter(({ version, first, last }) =>
      outer.ranges.some((one) => one.version === version && one.first <= first && last <= one.last),
    );
    return new AddressRanges(inner).includes(address);
  }
}

/** What is wrong with a list of CIDRs, entry by entry. @param path of the list in its request */
export function rangeErrors(path: string, ranges: readonly string[]): FieldError[] {
  return ranges.flatMap((range, index) => {
    try {
      AddressRanges.parse([range]);
      return [];
    } catch (error) {
      if (!(error instanceof InvalidAddressRange)) throw error;
      return [{ path: `${path}[${index}]`, message: error.message }];
    }
  });
}

function parseRange(text: string): Range {
  const [, address = '', digits] = /^([\da-f.:]+)(?:\/(0|[1-9]\d{0,2}))?$/i.exec(text) ?? [];
  const parsed = parseIpAddress(address);
  const written = isIP(address) === 6 ? 128 : 32;
  const hostBits = digits === undefined ? 0 : written - Number(digits);
  const width = parsed?.version === 6 ? 128 : 32;
  if (parsed === null || hostBits < 0 || hostBits > width) {
    throw new InvalidAddressRange(
      `"${text}" is no address range: write a CIDR such as 10.0.0.0/8 or fd00::/8`,
    );
  }
  const size = 1n << BigInt(hostBits);
  if (parsed.value % size !== 0n) {
    throw new InvalidAddressRange(
      `"${text}" has bits set beyond its prefix: write the first address of the range, or the address alone`,
    );
  }
  return { version: parsed.version, first: parsed.value, last: parsed.value + size - 1n };
}
