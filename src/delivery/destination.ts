import type { LookupAddress } from 'node:dns';
import type { AddressRules } from '../domain/target-address.js';
import { knownAddresses, parseTargetUrl } from '../domain/target-url.js';
import type { ResolveAddresses } from './target-resolver.js';

/** Of a name with more addresses, the first ones in the order of their text count. */
const MAX_ADDRESSES = 4;
/** Names and URLs that are remembered; beyond it the one that was learnt first is forgotten. */
const MAX_REMEMBERED = 10_000;

/** Where requests go, for counting them: the host's addresses, or its name as long as they are not known. */
export type Destination = readonly string[];

const EXEMPT: Destination = [];

/**
 * Which destination a target URL has. Many names may lead to one address, so an address counts wherever it is known:
 * from the URL, or from the look-up for the last connection. What the operator allows (ALLOW_TARGET_RANGES) is the
 * operator's own network, and no destination at all.
 */
export class Destinations {
  private readonly hosts = new Map<string, string>();
  private readonly addresses = new Map<string, Destination>();

  constructor(private readonly rules: AddressRules) {}

  of(targetUrl: string): Destination {
    const host = this.hostOf(targetUrl);
    return this.addresses.get(host) ?? (host === '' ? EXEMPT : [host]);
  }

  /** A resolver that remembers what it finds. */
  learning(resolve: ResolveAddresses): ResolveAddresses {
    return async (hostname, tenantId) => {
      const found = await resolve(hostname, tenantId);
      this.learn(hostname, found);
      return found;
    };
  }

  private learn(hostname: string, found: readonly LookupAddress[]): void {
    const addresses = found.map(({ address }) => address);
    remember(this.addresses, hostname, this.counted(addresses));
  }

  /** Empty for what is not sent at all, since it is no URL. */
  private hostOf(targetUrl: string): string {
    const known = this.hosts.get(targetUrl);
    if (known !== undefined) return known;
    let host = '';
    try {
      const url = parseTargetUrl(targetUrl);
      host = url.hostname;
      const addresses = knownAddresses(url);
      if (addresses.length > 0) remember(this.addresses, host, this.counted(addresses));
    } catch {
      // The attempt will say what is wrong with it.
    }
    remember(this.hosts, targetUrl, host);
    return host;
  }

  private counted(addresses: string[]): Destination {
    if (addresses.some((address) => this.rules.isOfOperator(address))) return EXEMPT;
    return addresses.sort().slice(0, MAX_ADDRESSES);
  }
}

function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  for (const [oldest] of map) {
    if (map.size < MAX_REMEMBERED) break;
    map.delete(oldest);
  }
  map.set(key, value);
}
