import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { type Behaviour, HTTP_BEHAVIOURS, TLS_BEHAVIOURS } from './hostile-behaviours.js';
import { answerCalls } from './program.js';

/**
 * Hostile subscribers, in a process of their own, a port for each behaviour. They listen on all of 127.0.0.0/8, so that
 * each subscription can have a host of its own.
 *
 * What all of them send together is bounded, as by the network between them and a service: about 500 Mbit/s and 10,000
 * packets a second. Without a bound, this process and the kernel's loopback would take the machine's processors for
 * themselves, and that, not what the service makes of it, would be measured.
 */

const TICK_MS = 10;
const BYTES_A_TICK = 640 * 1024;
const WRITES_A_TICK = 100;
/** Bytes that wait in this process for one connection. */
const MAX_UNSENT = 64 * 1024;

interface Tally {
  connections: number;
  requests: number;
  bytesSent: number;
}

const tallies: Record<string, Tally> = {};
/** Connections that send without an end; the next one to be served is first. */
const floods = new Map<Socket, { piece: Buffer; tally: Tally }>();

async function serve(name: string, behave: Behaviour): Promise<number> {
  const tally = (tallies[name] = { connections: 0, requests: 0, bytesSent: 0 });
  const server = createServer({ noDelay: true }, (socket) => {
    tally.connections++;
    socket.on('error', () => undefined); // it was to be expected
    socket.on('data', () => tally.requests++);
    socket.once('close', () => floods.delete(socket));
    behave(socket, (piece) => floods.set(socket, { piece: Buffer.from(piece), tally }));
  });
  server.listen({ port: 0, host: '0.0.0.0', backlog: 4_096 });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function tick(): void {
  let bytes = 0;
  let writes = 0;
  // Those that are put back at the end of the map would come again.
  for (const [socket, flood] of [...floods]) {
    if (bytes >= BYTES_A_TICK || writes >= WRITES_A_TICK) return;
    floods.delete(socket);
    if (socket.destroyed) continue;
    floods.set(socket, flood);
    if (socket.writableLength > MAX_UNSENT) continue;
    socket.write(flood.piece);
    flood.tally.bytesSent += flood.piece.length;
    bytes += flood.piece.length;
    writes++;
  }
}

setInterval(tick, TICK_MS);

const ports: Record<string, number> = {};
for (const [name, behave] of Object.entries({ ...HTTP_BEHAVIOURS, ...TLS_BEHAVIOURS })) {
  ports[name] = await serve(name, behave);
}

const methods = {
  ports: () => ports,
  tallies: () => tallies,
};

export type HostileSink = typeof methods;

answerCalls(methods);
