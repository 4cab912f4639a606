import type { LookupAddress } from 'node:dns';
import { lookup, Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';

/** All A and AAAA addresses of a host name; rejects when there are none. */
export type ResolveAddresses = (hostname: string) => Promise<LookupAddress[]>;

export interface TargetResolverOptions {
  /** Milliseconds for DNS, TCP and TLS together. */
  connectTimeoutMs: number;
  /** `host:port` of DNS servers that stand in for the system's in tests. */
  servers?: string[];
  /** Stands in for getaddrinfo in tests. */
  system?: ResolveAddresses;
}

/** DNS has no such name, or there is no DNS here: other sources of the system may still know it. */
const UNKNOWN_TO_DNS = ['ENOTFOUND', 'ENODATA', 'ECONNREFUSED'];

/** Share of the connect timeout after which silent DNS servers are given up. */
const PATIENCE = 0.75;

const HOSTS_FILE = process.platform === 'win32' ? 'C:\\Windows\\System32\\drivers\\etc\\hosts' : '/etc/hosts';

/**
 * Resolves the names that strangers choose without letting them hold each other up. getaddrinfo has a thread for
 * each look-up, few of them, and cannot be called off: names whose servers never answer would soon have them all.
 * So public names are asked of DNS over sockets, without threads, and given up in time.
 *
 * getaddrinfo has the names that are the operator's own: those of the hosts file and those without a dot. It is
 * also asked for what DNS does not know (search domains, mDNS), but for one name at a time: the threads left over
 * are for the connections to PostgreSQL and Redis.
 */
export function targetResolver({
  connectTimeoutMs,
  servers,
  system = getAddrInfo,
}: TargetResolverOptions): ResolveAddresses {
  let line: Promise<unknown> = Promise.resolve();

  function standInLine(hostname: string): Promise<LookupAddress[]> {
    const result = line.then(() => system(hostname));
    line = result.catch(() => undefined);
    return result;
  }

  async function askDns(hostname: string): Promise<LookupAddress[]> {
    // One for each look-up: c-ares would hold a name's silence against the server, for all names.
    const resolver = new Resolver({ timeout: Math.ceil(connectTimeoutMs / 4), tries: 2 });
    if (servers) resolver.setServers(servers);
    // Two tries of the first server; with several servers, c-ares alone would go on for longer.
    const timer = setTimeout(() => resolver.cancel(), connectTimeoutMs * PATIENCE);
    const answers = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
    clearTimeout(timer);
    const addresses = answers.flatMap((answer, index) => withFamily(answer, index === 0 ? 4 : 6));
    if (addresses.length > 0) return addresses;
    throw new DnsFailure(answers.map((answer) => codeOf((answer as PromiseRejectedResult).reason)));
  }

  return async (hostname) => {
    if (await isOwnName(hostname)) return system(hostname);
    try {
      return await askDns(hostname);
    } catch (error) {
      if (!UNKNOWN_TO_DNS.includes(codeOf(error))) throw error;
      return standInLine(hostname);
    }
  };
}

/**
 * Connections that wait for the same name wait for one look-up. Nothing is remembered once it has ended, so every
 * connection is judged by an answer that came while it waited.
 */
export function shared(resolve: ResolveAddresses): ResolveAddresses {
  const underWay = new Map<string, Promise<LookupAddress[]>>();
  return (hostname) => {
    let result = underWay.get(hostname);
    if (result === undefined) {
      result = resolve(hostname).finally(() => underWay.delete(hostname));
      underWay.set(hostname, result);
    }
    return result;
  };
}

/** The hosts file is read each time: it may change, and containers' ones do. */
async function isOwnName(hostname: string): Promise<boolean> {
  const name = hostname.replace(/\.$/, '').toLowerCase();
  if (!name.includes('.') || name.endsWith('.localhost')) return true;
  const hosts = await readFile(HOSTS_FILE, 'utf8').catch(() => '');
  return hosts.replace(/#.*/g, '').toLowerCase().split(/\s+/).includes(name);
}

function withFamily(answer: PromiseSettledResult<string[]>, family: 4 | 6): LookupAddress[] {
  return answer.status === 'fulfilled' ? answer.value.map((address) => ({ address, family })) : [];
}

/** DNS gave no address; `code` is the graver one of the two questions' codes. */
class DnsFailure extends Error {
  readonly code: string;

  constructor(codes: string[]) {
    super('no address in DNS');
    const code = codes.find((each) => !UNKNOWN_TO_DNS.includes(each)) ?? codes[0] ?? 'ENODATA';
    this.code = code === 'ECANCELLED' ? 'ETIMEOUT' : code;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

function getAddrInfo(hostname: string): Promise<LookupAddress[]> {
  return lookup(hostname, { all: true });
}
