import { Connection, type ConnectionOwner } from './connection.js';
import { type Admission, DestinationBusy, type RequestLimits } from './destination-limits.js';
import type { Connect, ConnectTarget } from './guarded-connector.js';
import type { HttpExchange } from './http-exchange.js';
import type { IdleConnections } from './idle-connections.js';
import { MAX_IDLE_MS } from './response-framing.js';
import type { RestingConnections } from './resting-connections.js';
import { SenderClosed } from './send-failure.js';

/** Milliseconds for which no connection is used twice after a server has sent what nothing asked for. */
export const DISTRUST_MS = 600_000;

/**
 * The keep-alive connections of one tenant and credential to one origin: as many as asked for at most, each with one
 * exchange at a time; further exchanges wait in a queue.
 *
 * An answer has nothing in HTTP/1.1 that names its request, so what a server sends too late could be taken for the
 * answer to the next request. Therefore a connection rests for a whole turn of the event loop before it is used again:
 * what has come meanwhile ends it, and from then on this pool uses each connection once.
 */
export class OriginPool implements ConnectionOwner {
  private readonly idle: Connection[] = [];
  private readonly resting = new Set<Connection>();
  private readonly busy = new Set<Connection>();
  private readonly queue = new Set<HttpExchange>();
  private lastUsedAt = performance.now();
  private distrustUntil = 0;
  private isDestroyed = false;

  constructor(
    private readonly target: ConnectTarget,
    private readonly maxConnections: number,
    private readonly connect: Connect,
    private readonly limits: RequestLimits,
    private readonly idleConnections: IdleConnections,
    private readonly restingConnections: RestingConnections,
  ) {}

  /** Sends the exchange on a free connection, or as soon as there is one. */
  submit(exchange: HttpExchange): void {
    const connection = this.freeConnection(this.queue.size);
    if (connection !== undefined) {
      this.carry(exchange, connection);
      return;
    }
    this.queue.add(exchange);
    exchange.queue = this.queue;
    this.restingConnections.hurry();
  }

  isUnused(now: number): boolean {
    const isQuiet = this.busy.size + this.resting.size === 0 && this.lastUsedAt + MAX_IDLE_MS <= now;
    return isQuiet && this.idle.length === 0;
  }

  get isDistrusted(): boolean {
    return this.distrustUntil > performance.now();
  }

  /** Ends all exchanges as failures and closes all connections. */
  destroy(): void {
    this.isDestroyed = true;
    const reason = new SenderClosed();
    for (const exchange of this.queue) exchange.failWith(reason);
    for (const connection of this.busy) connection.destroy(reason);
    for (const connection of [...this.idle, ...this.resting]) connection.close();
  }

  onStray(): void {
    this.distrustUntil = performance.now() + DISTRUST_MS;
    for (const connection of [...this.idle, ...this.resting]) connection.close();
  }

  onRested(connection: Connection): void {
    this.resting.delete(connection);
    if (!connection.isDestroyed) this.idle.push(connection);
    this.serveQueue();
    // Unless it is in use again.
    if (this.idle.at(-1) === connection) this.idleConnections.add(connection);
  }

  onIdleClosed(connection: Connection): void {
    this.idleConnections.delete(connection);
    const index = this.idle.indexOf(connection);
    if (index !== -1) this.idle.splice(index, 1);
  }

  private newConnection(): Connection {
    return new Connection(this.connect, this.target, this);
  }

  /** @param others that wait, and come first */
  private freeConnection(others: number): Connection | undefined {
    if (this.busy.size + this.resting.size >= this.maxConnections) return undefined;
    // A resting connection is there sooner than a new one would be open.
    return this.takeIdle() ?? (others < this.resting.size ? undefined : this.newConnection());
  }

  /** The one used last is the likeliest to be open still. */
  private takeIdle(): Connection | undefined {
    const now = performance.now();
    let connection: Connection | undefined;
    while ((connection = this.idle.at(-1)) !== undefined) {
      if (connection.expiresAt > now) {
        this.idle.pop();
        this.idleConnections.delete(connection);
        return connection;
      }
      connection.close();
    }
    return undefined;
  }

  /** A connection that is open already leads to a known destination; one that is not is admitted while it connects. */
  private carry(exchange: HttpExchange, connection: Connection): void {
    this.busy.add(connection);
    const { destination } = connection;
    if (destination === null) {
      this.send(exchange, connection);
      return;
    }
    const admission = this.limits.admit(destination, exchange.kind);
    if (admission instanceof Promise) {
      void admission.then((late) => this.sendIfAdmitted(exchange, connection, late));
    } else this.sendIfAdmitted(exchange, connection, admission);
  }

  /** While the limits were asked for, the exchange may have timed out, and the connection or the pool have ended. */
  private sendIfAdmitted(exchange: HttpExchange, connection: Connection, admission: Admission): void {
    if (admission.isAdmitted) exchange.hold(admission.end);
    else exchange.failWith(new DestinationBusy(admission.retryInMs));
    if (this.isDestroyed) exchange.failWith(new SenderClosed());
    const isUsable = !connection.isDestroyed && !this.isDistrusted;
    if (!exchange.isSettled && isUsable) {
      this.send(exchange, connection);
      return;
    }
    this.busy.delete(connection);
    this.rest(connection);
    if (!exchange.isSettled) this.carry(exchange, this.newConnection());
  }

  private send(exchange: HttpExchange, connection: Connection): void {
    connection.carry(exchange, (error) => {
      this.busy.delete(connection);
      this.lastUsedAt = performance.now();
      if (error === null) this.rest(connection);
      else this.replace(connection, exchange, error);
    });
  }

  private rest(connection: Connection): void {
    if (connection.isDestroyed || this.isDestroyed || this.isDistrusted) {
      connection.close();
      this.serveQueue();
      return;
    }
    this.resting.add(connection);
    this.restingConnections.add(connection);
    if (this.queue.size > 0) this.restingConnections.hurry();
  }

  /**
   * A server may close a kept connection in the moment in which we write to it (RFC 9112 section 9.3.1). When
   * a reused connection is lost before the answer, the exchange is therefore sent once more, on a new one;
   * deliveries are at least once, and their id lets the subscriber drop a copy.
   */
  private replace(connection: Connection, exchange: HttpExchange, error: Error): void {
    if (connection.isReused && exchange.isLostUnanswered(error) && !this.isDestroyed) {
      this.carry(exchange, this.newConnection());
      return;
    }
    exchange.failWith(error);
    this.serveQueue();
  }

  private serveQueue(): void {
    for (const next of this.queue) {
      const connection = this.freeConnection(this.queue.size - 1);
      if (connection === undefined) return;
      this.queue.delete(next);
      next.queue = null;
      this.carry(next, connection);
    }
  }
}
