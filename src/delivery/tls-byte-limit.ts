import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** Bytes of TLS itself (handshake, tickets, records around the answer) that a server may send on a connection. */
export const MAX_TLS_BYTES = 256 * 1024;
/** Milliseconds between two looks at the connections. */
const CHECK_MS = 50;

/** A server sent much that is no answer, as a look at the raw bytes showed. */
export class TooManyTlsBytes extends Error {
  readonly code = 'ERR_TLS_TOO_MANY_BYTES';

  constructor() {
    super(`the server sent more than ${MAX_TLS_BYTES} bytes of TLS beside its answer`);
  }
}

/**
 * OpenSSL passes over some messages without telling anyone and without a bound, such as a HelloRequest during the
 * handshake (RFC 5246 section 7.4.1.1) or a key update after it. They cost time in this process, and no reader of the
 * answer sees them, so the bytes of the TCP connection are compared with those that came out of TLS: around records of
 * a usual size TLS adds a hundredth.
 */
export class TlsByteLimit {
  private readonly watched = new Map<TLSSocket, Socket>();
  private timer: NodeJS.Timeout | undefined;

  /** Destroys the TLS socket with {@link TooManyTlsBytes} once the TCP socket below it has read too much. */
  watch(tls: TLSSocket, tcp: Socket): void {
    this.watched.set(tls, tcp);
    this.timer ??= setInterval(() => this.check(), CHECK_MS).unref();
    tls.once('close', () => {
      this.watched.delete(tls);
      if (this.watched.size > 0) return;
      clearInterval(this.timer);
      this.timer = undefined;
    });
  }

  private check(): void {
    for (const [tls, tcp] of this.watched) {
      if (tcp.bytesRead > MAX_TLS_BYTES + 2 * tls.bytesRead) tls.destroy(new TooManyTlsBytes());
    }
  }
}
