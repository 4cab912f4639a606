import type { SendFailureCode } from '../domain/attempt-outcome.js';
import { BlockedTarget, ConnectTimeout, UnresolvedTarget } from './guarded-connector.js';
import { InvalidRequest } from './request-head.js';
import { InvalidResponse } from './response-parser.js';

/** Why there was no whole response: a code for rules, a sentence for people. */
export interface SendFailure {
  code: SendFailureCode;
  message: string;
}

/** What the sender answers for requests that it is asked to drop, or still gets, while it closes. */
export class SenderClosed extends Error {
  constructor() {
    super('the connection was closed because this service is stopping');
  }
}

/** The connection was closed, by the server or by us, without an error of its own. */
export class ConnectionClosed extends Error {}

/** On a reused connection, an answer was there before its request was sent: it is the answer to something else. */
export class AnsweredTooEarly extends ConnectionClosed {}

/** What was known about the exchange when it failed. */
export interface FailureScene {
  /** Host and port for people, e.g. `hooks.example.com:443`. */
  host: string;
  /** Bytes of an answer had come, but not all of its head. */
  hasBegun: boolean;
}

/** Translates what ends an exchange: our own errors, and those of node:net and node:tls. */
export function describeFailure(error: Error, scene: FailureScene): SendFailure {
  if (error instanceof BlockedTarget) return { code: 'blocked_target', message: error.message };
  if (error instanceof UnresolvedTarget) return { code: 'dns', message: error.message };
  if (error instanceof SenderClosed) return { code: 'connection_reset', message: error.message };
  if (error instanceof InvalidRequest) {
    return { code: 'invalid_target', message: `the request cannot be sent: ${error.message}` };
  }
  const so = scene.hasBegun ? 'in the middle of the headers of its answer' : 'before it answered';
  if (error instanceof ConnectTimeout) {
    const what = error.isHandshake
      ? 'TCP was connected, but no TLS handshake finished with'
      : 'no connection to';
    return { code: 'connect_timeout', message: `${what} ${scene.host} within the connect timeout` };
  }
  if (error instanceof InvalidResponse) {
    return { code: 'protocol', message: `no valid HTTP response from ${scene.host}: ${error.message}` };
  }
  if (error instanceof ConnectionClosed) {
    return { code: 'connection_reset', message: `connection closed by ${scene.host} ${so}` };
  }

  const { code, syscall, peer } = detailsOf(error, scene.host);
  switch (code) {
    case 'ECONNREFUSED':
      return { code: 'connection_refused', message: `connection refused by ${peer}` };
    case 'ETIMEDOUT':
      if (syscall === 'connect') return { code: 'connect_timeout', message: `no connection to ${peer}` };
      return { code: 'connection_reset', message: `connection to ${peer} lost ${so}` };
    case 'ECONNRESET':
    case 'EPIPE':
      return { code: 'connection_reset', message: `connection reset by ${peer} ${so}` };
  }
  if (TLS_CODE.test(code)) return { code: 'tls', message: `TLS with ${scene.host}: ${tlsReason(error)}` };
  if (syscall === 'connect') return { code: 'connection_refused', message: `no way to ${peer} (${code})` };
  return { code: 'protocol', message: `no valid HTTP response from ${peer}: ${error.message}` };
}

/** OpenSSL's and Node's own codes, and the X.509 results that Node hands on by name (`node:tls`). */
const TLS_CODE =
  /^(ERR_SSL_|ERR_TLS_|EPROTO$|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|PATH_LENGTH|INVALID_(CA|PURPOSE)|HOSTNAME_)|CERT|CRL/;

/** OpenSSL's messages look like `C0B1…:error:0A00010B:SSL routines:…:wrong version number:../deps/…`. */
function tlsReason(error: Error): string {
  if ('reason' in error && typeof error.reason === 'string' && error.reason !== '') return error.reason;
  return /:error:[^:]*:[^:]*:[^:]*:([^:]+):/.exec(error.message)?.[1] ?? error.message;
}

function detailsOf(error: Error, host: string): { code: string; syscall: string; peer: string } {
  const { code, syscall, address, port } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  if (address === undefined || port === undefined)
    return { code: code ?? '', syscall: syscall ?? '', peer: host };
  const literal = address.includes(':') ? `[${address}]` : address;
  return { code: code ?? '', syscall: syscall ?? '', peer: `${literal}:${port}` };
}
