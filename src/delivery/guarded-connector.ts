import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import type { AddressRules } from '../domain/target-address.js';
import { type ResolveAddresses, shared, targetResolver } from './target-resolver.js';

export interface GuardedConnectorOptions {
  rules: AddressRules;
  /** Milliseconds for DNS, TCP and TLS together; undici's clock is up to a second late above 1,000. */
  connectTimeoutMs: number;
  /** Told of what the rules refused. */
  onRefused?: OnRefused | undefined;
  /** Stands in for DNS in tests. */
  resolve?: ResolveAddresses | undefined;
}

/** For the operator alone: which address of which host was refused. */
export type OnRefused = (hostname: string, address: string) => void;

/**
 * The host is, or resolves to, an address that this service must not call. Tenants read the message, so it does not
 * say to which one: that would let them look up the names of the operator's network.
 */
export class BlockedTarget extends Error {
  constructor(hostname: string) {
    const verdict = isIP(hostname) === 0 ? 'has an address that is not public' : 'is not a public address';
    super(`${hostname} ${verdict}; the operator can allow it with ALLOW_TARGET_RANGES`);
  }
}

/** DNS has no address for the host, or gave no answer. */
export class UnresolvedTarget extends Error {
  constructor(hostname: string, cause: unknown) {
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
    super(`${hostname} does not resolve to an address${code}`, { cause });
  }
}

/**
 * How undici opens a connection here: addresses are judged after DNS, and the socket goes to the very
 * addresses that were judged, so a name that resolves differently a moment later (DNS rebinding) gains
 * nothing. One refused address among several refuses the host: which one is used would be chance. The
 * name stays in the Host header and in TLS SNI. A connection that is kept stays where it was judged to go;
 * what the name means meanwhile is asked again for the next connection.
 *
 * The connector fails with BlockedTarget, UnresolvedTarget, or the error of the socket.
 */
export function guardedConnector(options: GuardedConnectorOptions): buildConnector.connector {
  const connect = buildConnector({
    timeout: options.connectTimeoutMs,
    lookup: vettedLookup(options, shared(options.resolve ?? targetResolver(options))),
    autoSelectFamily: true,
    // Node 20's default of 250 ms gives up on an intercontinental handshake.
    autoSelectFamilyAttemptTimeout: 500,
  });
  return (target, callback) => {
    // node:net asks no lookup for a literal, so it is judged here.
    if (isIP(target.hostname) !== 0 && !options.rules.isAllowed(target.hostname)) {
      const refusal = refuse(options, target.hostname, target.hostname);
      queueMicrotask(() => callback(refusal, null));
      return;
    }
    connect(target, callback);
  };
}

/** A lookup for node:net, which asks for all addresses because autoSelectFamily is on. */
function vettedLookup(options: GuardedConnectorOptions, resolve: ResolveAddresses): LookupFunction {
  return (hostname, _options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const refused = addresses.find(({ address }) => !options.rules.isAllowed(address));
        if (refused !== undefined) callback(refuse(options, hostname, refused.address), []);
        else if (addresses.length === 0) callback(new UnresolvedTarget(hostname, undefined), []);
        else callback(null, addresses);
      },
      (error: unknown) => callback(new UnresolvedTarget(hostname, error), []),
    );
  };
}

function refuse({ onRefused }: GuardedConnectorOptions, hostname: string, address: string): BlockedTarget {
  onRefused?.(hostname, address);
  return new BlockedTarget(hostname);
}
