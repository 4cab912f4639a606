import { constants } from 'node:crypto';
import { isIP, type LookupFunction, connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { AddressRules } from '../domain/target-address.js';
import { type ResolveAddresses, shared, targetResolver } from './target-resolver.js';
import { TlsByteLimit } from './tls-byte-limit.js';
import { TlsSessions } from './tls-sessions.js';

export interface GuardedConnectorOptions {
  rules: AddressRules;
  /** Milliseconds for DNS, TCP and TLS together. */
  connectTimeoutMs: number;
  /** Told of what the rules refused. */
  onRefused?: OnRefused | undefined;
  /** Stands in for DNS in tests. */
  resolve?: ResolveAddresses | undefined;
  /** Certificate authorities (PEM) in the place of Node's own, for tests. */
  ca?: string | undefined;
}

/** For the operator alone: which address of which host was refused. */
export type OnRefused = (hostname: string, address: string) => void;

export interface ConnectTarget {
  protocol: string;
  hostname: string;
  /** Empty for the scheme's own. */
  port: string;
  tenantId: string;
}

/** Called once, with the open socket or with the reason why there is none. */
export type OnConnected = (error: Error | null, socket: Socket | null) => void;

/** @returns a function that gives up, if the socket is not open yet; then `onConnected` is not called */
export type Connect = (target: ConnectTarget, onConnected: OnConnected) => () => void;

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

/** DNS, TCP and TLS together took too long. */
export class ConnectTimeout extends Error {
  /** @param isHandshake TCP was there, and the server did not finish the TLS handshake */
  constructor(readonly isHandshake = false) {
    super();
  }
}

/**
 * Opens connections to subscribers: addresses are judged after DNS, and the socket goes to the very
 * addresses that were judged, so a name that resolves differently a moment later (DNS rebinding) gains
 * nothing. One refused address among several refuses the host: which one is used would be chance. The
 * name stays in the Host header and in TLS SNI. A connection that is kept stays where it was judged to go;
 * what the name means meanwhile is asked again for the next connection.
 *
 * The connector fails with BlockedTarget, UnresolvedTarget, ConnectTimeout, or the error of the socket.
 */
export function guardedConnector(options: GuardedConnectorOptions): Connect {
  const resolve = shared(options.resolve ?? targetResolver(options));
  const sessions = new TlsSessions();
  const tlsBytes = new TlsByteLimit();
  let secureContext: SecureContext | undefined;
  // One for all connections: to make it costs milliseconds. A server must not start a second handshake at will.
  const context = () =>
    (secureContext ??= createSecureContext({
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ...(options.ca !== undefined && { ca: options.ca }),
    }));

  return (target, onConnected) => {
    const { hostname, protocol, tenantId } = target;
    let socket: Socket | null = null;
    const timer = setTimeout(
      () => fail(new ConnectTimeout(socket instanceof TLSSocket)),
      options.connectTimeoutMs,
    );
    let isSettled = false;
    const settle = (): boolean => {
      clearTimeout(timer);
      return !isSettled && (isSettled = true);
    };
    const fail = (error: Error) => {
      socket?.destroy();
      if (settle()) onConnected(error, null);
    };
    const lost = () => fail(Object.assign(new Error('closed'), { code: 'ECONNRESET' }));
    const use = (opened: Socket) => {
      socket = opened;
      // Stays for good: a socket without a listener would throw.
      opened.on('error', fail);
      opened.once('close', lost);
    };

    // node:net asks no lookup for a literal, so it is judged here.
    if (isIP(hostname) !== 0 && !options.rules.isAllowed(hostname)) {
      const refusal = refuse(options, hostname, hostname);
      queueMicrotask(() => fail(refusal));
      return settle;
    }
    const isTls = protocol === 'https:';
    const tcp = connectTcp({
      host: hostname,
      port: target.port === '' ? (isTls ? 443 : 80) : Number(target.port),
      lookup: vettedLookup(options, resolve, tenantId),
      autoSelectFamily: true,
      // Node 20's default of 250 ms gives up on an intercontinental handshake.
      autoSelectFamilyAttemptTimeout: 500,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    });
    use(tcp);
    tcp.once('connect', () => {
      if (!isTls) {
        if (settle()) onConnected(null, tcp);
        return;
      }
      tcp.off('close', lost);
      const tls = sessions.join(`${tenantId} ${hostname}:${target.port}`, (session) =>
        connectTls({
          socket: tcp,
          host: hostname,
          secureContext: context(),
          servername: isIP(hostname) === 0 ? hostname : '',
          ...(session && { session }),
        }),
      );
      use(tls);
      tlsBytes.watch(tls, tcp);
      tls.once('secureConnect', () => {
        if (settle()) onConnected(null, tls);
      });
    });
    return () => {
      settle();
      socket?.destroy();
    };
  };
}

/** A lookup for node:net, which asks for all addresses because autoSelectFamily is on. */
function vettedLookup(
  options: GuardedConnectorOptions,
  resolve: ResolveAddresses,
  tenantId: string,
): LookupFunction {
  return (hostname, _options, callback) => {
    resolve(hostname, tenantId).then(
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
