import type { Socket } from 'node:net';
import type { Destination } from './destination-limits.js';
import type { Connect, ConnectTarget } from './guarded-connector.js';
import type { HttpExchange } from './http-exchange.js';
import { AnsweredTooEarly, ConnectionClosed } from './send-failure.js';

/** Reads of an exchange that are taken as they come; a careful server needs far fewer. */
const FREE_READS = 32;
/** Milliseconds between further reads: what a server sends byte by byte meanwhile is then read as one. */
const READ_PAUSE_MS = 50;
/** Up to this size a body is copied behind its head, which is cheaper than to write the two. */
const MAX_COPIED_BODY = 16 * 1024;

/** What becomes of a connection whose exchange has ended. */
export type OnFree = (error: Error | null) => void;

/** Told of what happens to a connection that carries nothing. */
export interface ConnectionOwner {
  /** The server has sent bytes that nothing asked for. */
  onStray: () => void;
  /** The connection has rested, and can be used again unless it is destroyed. */
  onRested: (connection: Connection) => void;
  /** The connection is closed, by the server or by {@link Connection.close}. */
  onIdleClosed: (connection: Connection) => void;
}

/**
 * One connection to one origin, with one exchange at a time. It is good for another exchange only while it is certain
 * where the next answer begins: see {@link release}. What comes while no exchange is under way belongs to nothing, and
 * ends it.
 */
export class Connection {
  /** It has carried an exchange before. */
  isReused = false;
  /** When its server may close it, in the milliseconds of `performance.now()`. */
  expiresAt = 0;
  isDestroyed = false;
  /** Where it leads; null while it is not open. */
  destination: Destination | null = null;

  private socket: Socket | null = null;
  private exchange: HttpExchange | null = null;
  private onFree: OnFree = () => undefined;
  private giveUpConnecting: (() => void) | null = null;
  private reads = 0;
  private resumeTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly connect: Connect,
    private readonly target: ConnectTarget,
    private readonly owner: ConnectionOwner,
  ) {}

  get tenantId(): string {
    return this.target.tenantId;
  }

  get isOpen(): boolean {
    return this.socket !== null;
  }

  /** @param onFree called once: with null when the connection can be used again, else with what ended it */
  carry(exchange: HttpExchange, onFree: OnFree): void {
    this.exchange = exchange;
    this.onFree = onFree;
    this.reads = 0;
    exchange.begin(this);
    if (this.socket !== null) {
      this.write(exchange, this.socket);
      return;
    }
    this.giveUpConnecting = this.connect(this.target, exchange, (error, opened) => {
      this.giveUpConnecting = null;
      if (opened === null) {
        this.lose(error ?? new ConnectionClosed());
        return;
      }
      this.destination = opened.destination;
      this.adopt(opened.socket);
      this.write(exchange, opened.socket);
    });
  }

  /** The exchange has what it wants: the answer ended, or no more of it is wanted. */
  release(): void {
    const { exchange, socket } = this;
    if (exchange === null) return;
    const keepAliveMs = exchange.keepAliveMs;
    // With a part of the request unsent, the server would take the rest of it for the next one.
    if (socket === null || keepAliveMs === 0 || socket.writableLength > 0 || socket.readableEnded) {
      this.lose(new ConnectionClosed());
      return;
    }
    this.isReused = true;
    this.expiresAt = performance.now() + keepAliveMs;
    this.exchange = null;
    this.onFree(null);
  }

  endRest(): void {
    this.owner.onRested(this);
  }

  /** Closes the connection, if it carries nothing. */
  close(): void {
    if (this.exchange === null) this.lose(new ConnectionClosed());
  }

  /** Closes the connection; the exchange that it carries ends with this error. */
  destroy(error: Error): void {
    this.lose(error);
  }

  private adopt(socket: Socket): void {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => this.read(bytes));
    socket.on('end', () => this.lose(new ConnectionClosed()));
    socket.on('error', (error) => this.lose(error));
    socket.on('close', () => this.lose(new ConnectionClosed()));
  }

  private write(exchange: HttpExchange, socket: Socket): void {
    const { head, body } = exchange;
    if (body.length <= MAX_COPIED_BODY) {
      const bytes = Buffer.allocUnsafe(head.length + body.length);
      bytes.write(head, 0, 'latin1');
      body.copy(bytes, head.length);
      socket.write(bytes);
      return;
    }
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(body);
    socket.uncork();
  }

  private read(bytes: Buffer): void {
    const { exchange, socket } = this;
    if (exchange === null || socket === null) {
      if (this.isDestroyed) return;
      this.close();
      this.owner.onStray();
      return;
    }
    if (this.isReused && this.reads === 0 && socket.writableLength > 0) {
      this.owner.onStray();
      this.lose(new AnsweredTooEarly());
      return;
    }
    this.reads += 1;
    exchange.receive(bytes);
    if (this.exchange === exchange && this.reads > FREE_READS) this.pause(socket);
  }

  private pause(socket: Socket): void {
    socket.pause();
    clearTimeout(this.resumeTimer);
    this.resumeTimer = setTimeout(() => {
      // All that is buffered as one, before single pieces come again.
      socket.read();
      if (!socket.destroyed) socket.resume();
    }, READ_PAUSE_MS);
  }

  private lose(error: Error): void {
    const { exchange } = this;
    const wasIdle = exchange === null && !this.isDestroyed;
    this.exchange = null;
    this.shut();
    if (exchange !== null) {
      exchange.onLost(error);
      this.onFree(error);
    } else if (wasIdle) {
      this.owner.onIdleClosed(this);
    }
  }

  private shut(): void {
    this.isDestroyed = true;
    clearTimeout(this.resumeTimer);
    this.giveUpConnecting?.();
    this.giveUpConnecting = null;
    this.socket?.destroy();
  }
}
