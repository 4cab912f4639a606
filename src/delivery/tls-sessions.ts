import type { TLSSocket } from 'node:tls';

/** As many as undici keeps. */
const MAX_SESSIONS = 100;
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
  private readonly sessions = new Map<string, Buffer>();

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
      else this.keep(key, session);
    });
    socket.on('error', () => this.sessions.delete(key));
    return socket;
  }

  /** The oldest one makes way. */
  private keep(key: string, session: Buffer): void {
    this.sessions.delete(key);
    this.sessions.set(key, session);
    if (this.sessions.size <= MAX_SESSIONS) return;
    const [oldest] = this.sessions.keys();
    if (oldest !== undefined) this.sessions.delete(oldest);
  }
}
