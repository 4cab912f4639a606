import type { FastifyInstance } from 'fastify';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { EdgeLimits } from './edge-limits.js';

/** Above this part of all connections that there may be, some are closed for others to find a place. */
const CROWDED = 0.8;
/** Above this part, those that have not sent a request yet are the first to be closed. */
const MANY_NEWCOMERS = 0.2;
/** Bytes. A smaller answer is counted only where it waits for the one before it. */
const SMALL_ANSWER = 4 * 1024;

/** The answer that a connection is busy with is Node's own, undocumented member. */
type Connection = Socket & { _httpMessage?: ServerResponse | null };

/** What waits for a client to read it. */
interface Unread {
  socket: Socket;
  /** Bytes of answers that were counted when they were handed over. */
  counted: number;
  /** Bytes handed to the socket: as long as they stay the same, nothing was added behind what waits. */
  written: number;
  since: number;
}

/**
 * Ends connections whose clients do not read their answers, which would otherwise fill the memory, and makes room when
 * there are too many. Node itself ends those that are slow to send; Node knows no time limit for an answer.
 */
export function watchConnections(server: FastifyInstance, limits: EdgeLimits): void {
  const http = server.server;
  const connections = new Connections(limits);
  http.maxConnections = limits.connections;
  http.on('connection', (socket: Socket) => connections.add(socket));
  server.addHook('onSend', ({ raw: { socket } }, { raw: response }, payload, done) => {
    connections.answer(socket, response, payload);
    done();
  });
  const looking = setInterval(() => connections.look(), limits.checkMs).unref();
  http.once('close', () => clearInterval(looking));
}

class Connections {
  /** Those that have not sent a whole request yet, the oldest first. */
  private readonly newcomers = new Set<Connection>();
  /** All others, the one that was answered last at the end. */
  private readonly known = new Set<Connection>();
  /** The one that has waited longest first. */
  private readonly unread = new Map<Socket, Unread>();
  /** The sum of {@link Unread.counted}. */
  private counted = 0;

  constructor(private readonly limits: EdgeLimits) {}

  add(socket: Socket): void {
    this.makeRoom(1);
    this.newcomers.add(socket);
    // Node stops to listen when it hands a socket over, as for CONNECT; a reset would then end the process.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.forget(socket));
  }

  /** To be called for every answer before it is written; what most of them are is small, and first in line. */
  answer(socket: Socket, response: ServerResponse, payload: unknown): void {
    if (!this.newcomers.delete(socket) && !this.known.delete(socket)) return;
    this.known.add(socket);
    if (typeof payload !== 'string' && !Buffer.isBuffer(payload)) return;
    // Without a socket it waits, in memory, for the answer to an earlier request of its connection.
    if (payload.length >= SMALL_ANSWER || response.socket === null) {
      this.count(socket, response, Buffer.byteLength(payload));
    }
  }

  /** Finds those that have waited too long, whatever the size of their answers. */
  look(): void {
    const now = performance.now();
    let unsent = 0;
    for (const line of [this.newcomers, this.known]) {
      for (const socket of line) {
        const known = this.unread.get(socket);
        const bytes = Math.max(socket.writableLength, known?.counted ?? 0);
        if (bytes === 0) this.unread.delete(socket);
        else if (known?.written !== socket.bytesWritten) {
          this.await({ socket, counted: 0, ...known, written: socket.bytesWritten, since: now });
        }
        unsent += bytes;
      }
    }
    this.cutUnread(unsent, now);
    this.makeRoom(this.newcomers.size + this.known.size);
  }

  private count(socket: Socket, response: ServerResponse, bytes: number): void {
    const now = performance.now();
    const before = this.unread.get(socket)?.counted ?? 0;
    this.await({ socket, counted: before + bytes, written: -1, since: now });
    this.counted += bytes;
    response.once('finish', () => {
      const unread = this.unread.get(socket);
      if (!unread) return;
      unread.counted -= bytes;
      this.counted -= bytes;
      if (unread.counted === 0) this.unread.delete(socket);
    });
    this.cutUnread(this.counted, now);
  }

  /** Puts it at the end of those that wait. */
  private await(unread: Unread): void {
    this.unread.delete(unread.socket);
    this.unread.set(unread.socket, unread);
  }

  private cutUnread(unsent: number, now: number): void {
    let left = unsent;
    for (const { socket, since, counted } of this.unread.values()) {
      if (now - since < this.limits.answerMs && left <= this.limits.unsentBytes) break;
      left -= Math.max(socket.writableLength, counted);
      this.drop(socket);
    }
  }

  /** Drops, where it is crowded, at most so many connections, and none that has a whole request to be answered. */
  private makeRoom(most: number): void {
    const { newcomers, known } = this;
    const places = this.limits.connections;
    for (let tries = most; tries > 0 && newcomers.size + known.size > places * CROWDED; tries -= 1) {
      const line = newcomers.size > places * MANY_NEWCOMERS || known.size === 0 ? newcomers : known;
      const [socket] = line;
      if (!socket) return;
      if (socket._httpMessage?.req.complete === true) {
        line.delete(socket);
        known.add(socket);
      } else this.drop(socket);
    }
  }

  private drop(socket: Socket): void {
    this.forget(socket);
    socket.destroy();
  }

  private forget(socket: Socket): void {
    this.newcomers.delete(socket);
    this.known.delete(socket);
    this.counted -= this.unread.get(socket)?.counted ?? 0;
    this.unread.delete(socket);
  }
}
