import type { LookupAddress } from 'node:dns';
import { lookup, Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type Lookup, SystemLookups } from './system-lookups.js';

/**
 * All A and AAAA addresses of a host name; rejects when there are none.
 * @param tenantId for whom: tenants take turns where look-ups have to wait
 */
export type ResolveAddresses = (hostname: string, tenantId?: string) => Promise<LookupAddress[]>;

export interface TargetResolverOptions {
  /** Milliseconds for DNS, TCP and TLS together. */
  connectTimeoutMs: number;
  /** `host:port` of DNS servers that stand in for the system's in tests. */
  servers?: string[];
  /** Stands in for getaddrinfo in tests. */
  system?: Lookup;
}

/** DNS has no such name, or there is no DNS here: other sources of the system may still know it. */
const UNKNOWN_TO_DNS = ['ENOTFOUND', 'ENODATA', 'ECONNREFUSED'];
/** What servers answer that are not asked for names without a dot (systemd-resolved and others). */
const NOT_ANSWERED_BY_DNS = [...UNKNOWN_TO_DNS, 'ESERVFAIL', 'EREFUSED'];

/** Share of the connect timeout after which silent DNS servers are given up. */
const PATIENCE = 0.75;

const HOSTS_FILE = process.platform === 'win32' ? 'C:\\Windows\\System32\\drivers\\etc\\hosts' : '/etc/hosts';

/** RFC 6761 section 6.3: what resolves `localhost` answers with these, and sends no query. */
const LOOPBACK: LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

/**
 * Resolves the names that tenants choose without letting them hold each other up. getaddrinfo has a thread for each
 * look-up, few of them, and cannot be called off: names whose servers never answer would soon have them all. So the
 * hosts file is read here, every other name is asked of DNS over sockets, without threads, and given up in time, and
 * getaddrinfo gets what is left: names that DNS does not know but the system may (search domains, mDNS), with a dot or
 * without, one at a time ({@link SystemLookups}).
 */
export function targetResolver({
  connectTimeoutMs,
  servers,
  system = getAddrInfo,
}: TargetResolverOptions): ResolveAddresses {
  const systemLookups = new SystemLookups(system, connectTimeoutMs);

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

  return async (hostname, tenantId = '') => {
    const name = hostname.replace(/\.$/, '').toLowerCase();
    const own = await inHostsFile(name);
    if (own.length > 0) return own;
    if (name === 'localhost' || name.endsWith('.localhost')) return LOOPBACK;
    try {
      return await askDns(hostname);
    } catch (error) {
      const isForSystem = name.includes('.') ? UNKNOWN_TO_DNS : NOT_ANSWERED_BY_DNS;
      if (!isForSystem.includes(codeOf(error))) throw error;
      return systemLookups.resolve(hostname, tenantId);
    }
  };
}

/**
 * Connections of a tenant that wait for the same name wait for one look-up, and never for one of another tenant, which
 * may have to wait for its turn or have been refused one. Nothing is remembered once it has ended, so every
 * connection is judged by an answer that came while it waited.
 */
export function shared(resolve: ResolveAddresses): ResolveAddresses {
  const underWay = new Map<string, Promise<LookupAddress[]>>();
  return (hostname, tenantId) => {
    const key = `${tenantId ?? ''} ${hostname}`;
    let result = underWay.get(key);
    if (result === undefined) {
      result = resolve(hostname, tenantId).finally(() => underWay.delete(key));
      underWay.set(key, result);
    }
    return result;
  };
}

/** The file is read each time: it may change, and containers' ones do. */
async function inHostsFile(name: string): Promise<LookupAddress[]> {
  const hosts = await readFile(HOSTS_FILE, 'utf8').catch(() => '');
  return hosts.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').toLowerCase().trim().split(/\s+/);
    const family = isIP(address);
    return family !== 0 && names.includes(name) ? [{ address, family }] : [];
  });
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
