import { isIP } from 'node:net';

/** An IP address as a number, so that ranges are comparisons. */
export interface IpAddress {
  version: 4 | 6;
  value: bigint;
}

/**
 * The address that a text names, in any spelling of RFC 4291 section 2.2 or as four decimal numbers; null if it is
 * neither. A zone (`%eth0`) is left out. An IPv4-mapped IPv6 address, which is how a dual-stack socket names an IPv4
 * peer, is its IPv4 address.
 */
export function parseIpAddress(text: string): IpAddress | null {
  const bare = text.replace(/^([^%]*:[^%]*)%.*$/s, '$1');
  const version = isIP(bare);
  if (version === 4) return { version, value: valueOf(bare.split('.'), 10, 8n) };
  if (version !== 6) return null;
  const value = ipv6Value(bare);
  return isMapped(value) ? ipv4(value) : { version: 6, value };
}

/** As groupOf, of a text: what is no address stands for itself. */
export function addressGroup(text: string): string {
  if (!text.includes(':')) return text;
  const address = parseIpAddress(text);
  return address === null ? text : groupOf(address);
}

/** What one host or site has of addresses: an IPv4 address, or the /64 of an IPv6 address (RFC 6177), as a text. */
export function groupOf({ version, value }: IpAddress): string {
  if (version === 6) return `6:${value >> 64n}`;
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
}

/** The IPv4 address in the lowest 32 bits. */
export function ipv4(value: bigint): IpAddress {
  return { version: 4, value: value & 0xffff_ffffn };
}

/** Whether an IPv6 address is of ::ffff:0:0/96 (RFC 4291 section 2.5.5.2). */
function isMapped(value: bigint): boolean {
  return value >> 32n === 0xffffn;
}

function ipv6Value(address: string): bigint {
  const [head = '', tail = ''] = address.replace(/[\d.]+\.\d+$/, hexGroups).split('::');
  const before = groupsOf(head);
  const after = groupsOf(tail);
  const zeros = Array<string>(8 - before.length - after.length).fill('0');
  return valueOf([...before, ...zeros, ...after], 16, 16n);
}

function groupsOf(part: string): string[] {
  return part === '' ? [] : part.split(':');
}

/** Four decimal numbers at the end of an IPv6 address as the two groups that they are. */
function hexGroups(dotted: string): string {
  const value = valueOf(dotted.split('.'), 10, 8n);
  return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
}

function valueOf(parts: readonly string[], radix: number, bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | BigInt(Number.parseInt(part, radix)), 0n);
}
