import { Client, type buildConnector } from 'undici';
import type { HttpExchange } from './http-exchange.js';
import { SenderClosed } from './send-failure.js';

/** Milliseconds for which an unused connection is kept when the server names no time of its own. */
const KEEP_ALIVE_MS = 4_000;
/** The longest that a server can ask us to keep an unused connection, and that an unused pool is kept. */
export const MAX_IDLE_MS = 30_000;
/** Bytes of a response's header section, as node:http limits them. */
const MAX_HEADER_BYTES = 16 * 1024;

/**
 * The keep-alive connections to one origin: as many as asked for at most, each with one exchange at a time;
 * further exchanges stand in line. undici's own Pool is not used because it (7.30) goes beyond its limit after
 * failed connections, holds requests that timed out, and takes a second connection for the next request of
 * the same tick.
 */
export class OriginPool {
  private readonly idle: Connection[] = [];
  private readonly busy = new Set<Connection>();
  private readonly line = new Set<HttpExchange>();
  private lastUsedAt = performance.now();
  private isDestroyed = false;

  constructor(
    private readonly origin: string,
    private readonly maxConnections: number,
    private readonly connect: buildConnector.connector,
  ) {}

  /** Sends the exchange on a free connection, or as soon as there is one. */
  submit(exchange: HttpExchange): void {
    if (this.busy.size < this.maxConnections) {
      // The one used last is the likeliest to be open still.
      this.carry(exchange, this.idle.pop() ?? new Connection(this.origin, this.connect));
    } else {
      this.line.add(exchange);
      exchange.line = this.line;
    }
  }

  isIdleSince(time: number): boolean {
    return this.busy.size === 0 && this.lastUsedAt <= time;
  }

  /** Ends all exchanges as failures and closes all connections. */
  async destroy(): Promise<void> {
    this.isDestroyed = true;
    const reason = new SenderClosed();
    for (const exchange of this.line) exchange.failWith(reason);
    await Promise.all([...this.busy, ...this.idle].map((connection) => connection.destroy(reason)));
  }

  private carry(exchange: HttpExchange, connection: Connection): void {
    this.busy.add(connection);
    exchange.onFree = (error) => {
      this.busy.delete(connection);
      if (error === null) this.keep(connection);
      else this.replace(connection, exchange, error);
    };
    connection.dispatch(exchange);
  }

  private keep(connection: Connection): void {
    connection.isReused = true;
    this.idle.push(connection);
    this.lastUsedAt = performance.now();
    this.serveLine();
  }

  /**
   * A server may close a kept connection in the moment in which we write to it (RFC 9112 section 9.3.1). When
   * a reused connection is lost before the answer, the exchange is therefore sent once more, on a new one;
   * deliveries are at least once, and their id lets the subscriber drop a copy.
   */
  private replace(connection: Connection, exchange: HttpExchange, error: Error): void {
    // undici would open the connection again for the request that failed.
    void connection.destroy(error);
    if (connection.isReused && exchange.isLostUnanswered(error) && !this.isDestroyed) {
      this.carry(exchange, new Connection(this.origin, this.connect));
      return;
    }
    exchange.failWith(error);
    this.lastUsedAt = performance.now();
    this.serveLine();
  }

  private serveLine(): void {
    const [next] = this.line;
    if (next === undefined) return;
    this.line.delete(next);
    next.line = null;
    this.submit(next);
  }
}

/** One keep-alive connection, made when it is first needed and again when it was closed while idle. */
class Connection {
  /** The open socket has carried an exchange before. */
  isReused = false;
  private readonly client: Client;

  constructor(origin: string, connect: buildConnector.connector) {
    this.client = new Client(origin, {
      connect,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: MAX_IDLE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // The exchange has one timeout of its own for everything.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.client.on('connect', () => {
      this.isReused = false;
    });
  }

  dispatch(exchange: HttpExchange): void {
    this.client.dispatch(exchange.request, exchange);
  }

  destroy(reason: Error): Promise<void> {
    return this.client.destroy(reason);
  }
}
