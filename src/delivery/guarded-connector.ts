import { constants } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, DEFAULT_CIPHERS, type SecureContext } from 'node:tls';
import type { AddressRules } from '../domain/target-address.js';
import { connectTcp } from './connect-tcp.js';
import {
  type Admission,
  type Destination,
  DestinationBusy,
  NO_LIMITS,
  type RequestKind,
  type RequestLimits,
} from './destination-limits.js';
import { OpeningSocket } from './opening-socket.js';
import { OpeningTurns } from './opening-turns.js';
import { type ResolveAddresses, shared, targetResolver } from './target-resolver.js';
import { TlsSessions } from './tls-sessions.js';
import { TlsTransport } from './tls-transport.js';

/** Without Diffie-Hellman over a group that the server chooses: its cost grows with the cube of the bits that it takes. */
const CIPHERS = `${DEFAULT_CIPHERS}:!kDHE`;
/** The same for TLS 1.3, where it has names. */
const KEY_EXCHANGES = 'X25519:P-256:P-384:P-521';

export interface GuardedConnectorOptions {
  rules: AddressRules;
  /** Milliseconds for DNS, TCP and TLS together. */
  connectTimeoutMs: number;
  /** What all requests to an address have to share; none where it is left out, as in tests. */
  limits?: RequestLimits | undefined;
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

/** For what a connection is opened. */
export interface Opener {
  readonly kind: RequestKind;
  /** Takes over what was admitted: `end` is to be called once, at the end of the request or of another attempt. */
  hold(end: () => void): void;
}

/** An open socket, and where it leads. */
export interface Opened {
  socket: Socket;
  destination: Destination;
}

/** Called once, with the open socket or with the reason why there is none. */
export type OnConnected = (error: Error | null, opened: Opened | null) => void;

/** @returns a function that gives up, if the socket is not open yet; then `onConnected` is not called */
export type Connect = (target: ConnectTarget, opener: Opener, onConnected: OnConnected) => () => void;

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
 * Each attempt counts at the very address that it goes to, whatever names lead there.
 *
 * The connector fails with BlockedTarget, UnresolvedTarget, ConnectTimeout, DestinationBusy, or the error of the socket.
 */
export function guardedConnector(options: GuardedConnectorOptions): Connect {
  const resolve = shared(options.resolve ?? targetResolver(options));
  const limits = options.limits ?? NO_LIMITS;
  const sessions = new TlsSessions();
  const turns = new OpeningTurns();
  let secureContext: SecureContext | undefined;
  // One for all connections: to make it costs milliseconds. A server must not start a second handshake at will.
  const context = () =>
    (secureContext ??= createSecureContext({
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ciphers: CIPHERS,
      ecdhCurve: KEY_EXCHANGES,
      ...(options.ca !== undefined && { ca: options.ca }),
    }));

  async function open(target: ConnectTarget, opener: Opener, opening: OpeningSocket): Promise<Opened> {
    const { hostname, protocol, tenantId } = target;
    const isTls = protocol === 'https:';
    const port = target.port === '' ? (isTls ? 443 : 80) : Number(target.port);
    const addresses = await allowedAddresses(options, resolve, target);
    const later = turns.next(tenantId);
    if (later) await later;
    if (opening.isGivenUp) throw new ConnectTimeout();
    let destination!: Destination;
    const take = (admission: Admission): void => {
      if (!admission.isAdmitted) throw new DestinationBusy(admission.retryInMs);
      opener.hold(admission.end);
    };
    const tcp = await connectTcp(addresses, port, opening, (address) => {
      destination = limits.destination(address, tenantId);
      const admission = limits.admit(destination, opener.kind);
      if (admission instanceof Promise) return admission.then(take);
      take(admission);
      return undefined;
    });
    if (!isTls) return { socket: tcp, destination };
    const transport = new TlsTransport(tcp);
    const tls = sessions.join(`${tenantId} ${hostname}:${target.port}`, (session) =>
      connectTls({
        socket: transport,
        host: hostname,
        secureContext: context(),
        servername: isIP(hostname) === 0 ? hostname : '',
        ...(session && { session }),
      }),
    );
    transport.serve(tls);
    await opening.until(tls, 'secureConnect', tcp);
    return { socket: tls, destination };
  }

  return (target, opener, onConnected) => {
    const opening = new OpeningSocket();
    let isSettled = false;
    const settle = (): boolean => {
      clearTimeout(timer);
      return !isSettled && (isSettled = true);
    };
    const fail = (error: Error): void => {
      const isFirst = settle();
      opening.giveUp();
      if (isFirst) onConnected(error, null);
    };
    const timer = setTimeout(() => fail(new ConnectTimeout(opening.isHandshake)), options.connectTimeoutMs);
    open(target, opener, opening).then((opened) => {
      if (settle()) onConnected(null, opened);
    }, fail);
    return () => {
      settle();
      opening.giveUp();
    };
  };
}

/**
 * All addresses of a host; a literal is its own.
 * @throws BlockedTarget if one of them is not to be called, UnresolvedTarget if there are none; by rejecting
 */
async function allowedAddresses(
  options: GuardedConnectorOptions,
  resolve: ResolveAddresses,
  { hostname, tenantId }: ConnectTarget,
): Promise<string[]> {
  const addresses =
    isIP(hostname) === 0
      ? (await resolve(hostname, tenantId).catch(rethrow(hostname))).map(({ address }) => address)
      : [hostname];
  const refused = addresses.find((address) => !options.rules.isAllowed(address));
  if (refused !== undefined) {
    options.onRefused?.(hostname, refused);
    throw new BlockedTarget(hostname);
  }
  if (addresses.length === 0) throw new UnresolvedTarget(hostname, undefined);
  return addresses;
}

const rethrow = (hostname: string) => (error: unknown) => {
  throw new UnresolvedTarget(hostname, error);
};
