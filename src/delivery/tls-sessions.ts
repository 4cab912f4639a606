import type { TLSSocket } from 'node:tls';
import { boundedCache } from '../domain/bounded-cache.js';

/** As many as undici keeps. */
const MAX_SESSIONS = 100;
/** Milliseconds. With a session, what was sent under it can be decrypted. */
const MAX_SESSION_AGE_MS = 10 * 60_000;
/** Session tickets that a server may send on one connection; each costs a call into this process. */
const MAX_TICKETS = 8;

/** The server sends session tickets without need. */
class TooManyTickets extends Error {
  readonly code = 'ERR_TLS_TOO_MANY_TICKETS';

  constructor() {
    super(`the server sent more than ${MAX_TICKETS} session tickets`);
  }
}

/** The latest TLS session of each origin of a tenant, so that the next handshake is a short one. */
export class TlsSessions {
  private readonly sessions = boundedCache<Buffer>(MAX_SESSIONS, { maxAgeMs: MAX_SESSION_AGE_MS });

  /**
   * @param key tenant and origin
   * @param open makes the socket, with the session if there is one
   */
  join(key: string, open: (session: Buffer | undefined) => TLSSocket): TLSSocket {
    const socket = open(this.sessions.get(key));
    let tickets = 0;
    socket.on('session', (session: Buffer) => {
      tickets += 1;
      if (tickets > MAX_TICKETS) socket.destroy(new TooManyTickets());
      else this.sessions.set(key, session);
    });
    socket.on('error', () => this.sessions.delete(key));
    return socket;
  }
}
