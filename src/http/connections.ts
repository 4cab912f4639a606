import type { FastifyInstance } from 'fastify';
import type { Socket } from 'node:net';
import type { EdgeLimits } from './edge-limits.js';

/** Above this part of all connections that there may be, those that are between two requests are closed. */
const CROWDED = 0.8;

interface Stalled {
  socket: Socket;
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
  const open = new Set<Socket>();
  const stalled = new Map<Socket, Stalled>();
  http.maxConnections = limits.connections;
  http.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      stalled.delete(socket);
    });
  });

  const look = (): void => {
    const now = performance.now();
    let unsent = 0;
    for (const socket of open) {
      if (socket.writableLength === 0) {
        stalled.delete(socket);
        continue;
      }
      const known = stalled.get(socket);
      if (known?.written !== socket.bytesWritten) {
        stalled.delete(socket); // for the map to stay in the order of their times
        stalled.set(socket, { socket, written: socket.bytesWritten, since: now });
      }
      unsent += socket.writableLength;
    }
    for (const { socket, since } of stalled.values()) {
      if (now - since < limits.answerMs && unsent <= limits.unsentBytes) break;
      unsent -= socket.writableLength;
      socket.destroy();
    }
    if (open.size > limits.connections * CROWDED) http.closeIdleConnections();
  };
  const looking = setInterval(look, limits.checkMs).unref();
  http.once('close', () => clearInterval(looking));
}
