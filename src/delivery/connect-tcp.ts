import { isIPv4, connect, type Socket } from 'node:net';
import type { OpeningSocket } from './opening-socket.js';

/** Milliseconds for one of several addresses. Node 20's default of 250 gives up on an intercontinental handshake. */
const ATTEMPT_MS = 500;
/** Addresses of a host that are tried for one connection: a name may have thousands. */
export const MAX_ADDRESSES_TRIED = 8;

/**
 * Opens a TCP connection to the first of these addresses that takes one, the families by turns (RFC 8305 section 4).
 * @param admit asked before each attempt; when it throws or rejects, that is the end
 * @throws the error of the first attempt, by rejecting
 */
export async function connectTcp(
  addresses: readonly string[],
  port: number,
  opening: OpeningSocket,
  admit: (address: string) => void | Promise<void>,
): Promise<Socket> {
  const candidates = byTurns(addresses).slice(0, MAX_ADDRESSES_TRIED);
  let firstError: unknown;
  for (const [index, address] of candidates.entries()) {
    const admitted = admit(address);
    if (admitted) await admitted;
    // Only the time for the whole connection bounds the last one.
    const timeoutMs = index === candidates.length - 1 ? null : ATTEMPT_MS;
    try {
      return await attempt(address, port, timeoutMs, opening);
    } catch (error) {
      if (opening.isGivenUp) throw error;
      firstError ??= error;
    }
  }
  throw firstError;
}

async function attempt(
  address: string,
  port: number,
  timeoutMs: number | null,
  opening: OpeningSocket,
): Promise<Socket> {
  const socket = connect({
    host: address,
    port,
    autoSelectFamily: false,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  });
  const timer =
    timeoutMs === null ? undefined : setTimeout(() => socket.destroy(timedOut(address, port)), timeoutMs);
  try {
    await opening.until(socket, 'connect');
    return socket;
  } finally {
    clearTimeout(timer);
  }
}

function byTurns(addresses: readonly string[]): string[] {
  const isFirstV4 = isIPv4(addresses[0] ?? '');
  const preferred = addresses.filter((address) => isIPv4(address) === isFirstV4);
  const others = addresses.filter((address) => isIPv4(address) !== isFirstV4);
  const longest = Math.max(preferred.length, others.length);
  return Array.from({ length: longest }, (_, index) => [preferred[index], others[index]])
    .flat()
    .filter((address) => address !== undefined);
}

function timedOut(address: string, port: number): Error {
  const details = { code: 'ETIMEDOUT', syscall: 'connect', address, port };
  return Object.assign(new Error(`connect ETIMEDOUT ${address}:${port}`), details);
}
