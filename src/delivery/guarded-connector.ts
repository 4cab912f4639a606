import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import type { AddressRules } from '../domain/target-address.js';
import { type ResolveAddresses, shared, targetResolver } from './target-resolver.js';

export interface GuardedConnectorOptions {
  rules: AddressRules;
  /** Milliseconds for DNS, TCP and TLS together; undici's clock is up to a second late above 1,000. */
  connectTimeoutMs: number;
  /** Stands in for DNS in tests. */
  resolve?: ResolveAddresses | undefined;
}

/** The host is, or resolves to, an address that this service must not call. */
export class BlockedTarget extends Error {
  constructor(hostname: string, address: string) {
    const named = hostname === address ? address : `${address} (an address of ${hostname})`;
    super(`${named} is not a public address; ALLOW_TARGET_RANGES can allow it`);
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
 * name stays in the Host header and in TLS SNI.
 *
 * The connector fails with BlockedTarget, UnresolvedTarget, or the error of the socket.
 */
export function guardedConnector(options: GuardedConnectorOptions): buildConnector.connector {
  const connect = buildConnector({
    timeout: options.connectTimeoutMs,
    lookup: vettedLookup(options.rules, shared(options.resolve ?? targetResolver(options))),
    autoSelectFamily: true,
    // Node 20's default of 250 ms gives up on an intercontinental handshake.
    autoSelectFamilyAttemptTimeout: 500,
  });
  return (target, callback) => {
    // node:net asks no lookup for a literal, so it is judged here.
    if (isIP(target.hostname) !== 0 && !options.rules.isAllowed(target.hostname)) {
      const refusal = new BlockedTarget(target.hostname, target.hostname);
      queueMicrotask(() => callback(refusal, null));
      return;
    }
    connect(target, callback);
  };
}

/** A lookup for node:net, which asks for all addresses because autoSelectFamily is on. */
function vettedLookup(rules: AddressRules, resolve: ResolveAddresses): LookupFunction {
  return (hostname, _options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const refused = addresses.find(({ address }) => !rules.isAllowed(address));
        if (refused !== undefined) callback(new BlockedTarget(hostname, refused.address), []);
        else if (addresses.length === 0) callback(new UnresolvedTarget(hostname, undefined), []);
        else callback(null, addresses);
      },
      (error: unknown) => callback(new UnresolvedTarget(hostname, error), []),
    );
  };
}
