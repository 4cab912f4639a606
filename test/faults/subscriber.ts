import { createServer, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Lie, LieKind, LIES } from './lies.js';

/** One request as the subscriber got it. */
export interface Arrival {
  path: string;
  deliveryId: string;
  attemptNumber: number;
  webhookId: string;
  /** Null while it has not arrived whole. */
  body: Buffer | null;
  /** Milliseconds since the epoch, of this process's clock. */
  at: number;
  /** The status it was answered with; null when it got no valid answer. */
  status: number | null;
  /** Whether the subscriber took the event, and said so in a way that must be understood; null when that is unclear. */
  accepted: boolean | null;
}

/** How a path behaves: the last part of it. Deterministic, so that a retry of a refused attempt gets on. */
const BEHAVIOURS: Record<string, (arrival: Arrival) => { status: number; afterMs: number }> = {
  ok: () => ({ status: 200, afterMs: 0 }),
  slow: () => ({ status: 200, afterMs: 500 }),
  flaky: ({ deliveryId, attemptNumber }) => ({
    status: (Number.parseInt(deliveryId.slice(-4), 16) + attemptNumber) % 5 === 0 ? 500 : 200,
    afterMs: 0,
  }),
  broken: () => ({ status: 500, afterMs: 0 }),
};

export async function startSubscriber(): Promise<Subscriber> {
  const subscriber = new Subscriber();
  await subscriber.listen();
  return subscriber;
}

/** Takes deliveries, remembers every one of them, and lies where it is told to. */
export class Subscriber {
  private readonly server: Server;
  private arrivals: Arrival[] = [];
  /** By the beginning of a path. */
  private readonly lies = new Map<string, LieKind>();
  private told = 0;
  /** Connections that were lied on: node:http waits there for an answer that was written behind its back. */
  private readonly spoiled = new WeakSet<Socket>();

  constructor() {
    this.server = createServer((request, response) => this.serve(request, response));
    // What closes an idle connection in the moment of its next use would look like a fault.
    this.server.keepAliveTimeout = 0;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** What has arrived below this path, oldest first. */
  received(prefix: string): Arrival[] {
    return this.arrivals.filter(({ path }) => path.startsWith(prefix));
  }

  forget(): void {
    this.arrivals = [];
  }

  /** From now on every path that begins so is answered by lies of this kind in turn; null ends it. */
  lie(prefix: string, kind: LieKind | null): void {
    if (kind === null) this.lies.delete(prefix);
    else this.lies.set(prefix, kind);
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  private serve(request: IncomingMessage, response: ServerResponse): void {
    const arrival = arrivalOf(request);
    this.arrivals.push(arrival);
    const lie = this.lieFor(arrival);
    if (lie !== undefined) this.spoiled.add(request.socket);
    if (lie?.beforeBody === true) tell(lie, arrival, request.socket);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      arrival.body = Buffer.concat(chunks);
      if (lie === undefined) answer(arrival, this.spoiled.has(request.socket) ? request.socket : response);
      else if (!lie.beforeBody) tell(lie, arrival, request.socket);
    });
    request.on('error', () => undefined);
    response.on('error', () => undefined);
  }

  private lieFor({ path }: Arrival): Lie | undefined {
    const kind = [...this.lies].find(([prefix]) => path.startsWith(prefix))?.[1];
    const lies = kind && LIES[kind];
    return lies?.[this.told++ % lies.length];
  }
}

function answer(arrival: Arrival, to: ServerResponse | Socket): void {
  const name = arrival.path.split('/').at(-1) ?? '';
  const { status, afterMs } = (BEHAVIOURS[name] ?? BEHAVIOURS['ok']!)(arrival);
  // It has decided; whether the sender is still there to hear of it is another matter.
  arrival.accepted = status < 300;
  const send = () => {
    arrival.status = status;
    if (to instanceof ServerResponse) to.writeHead(status).end(name);
    else to.write(`HTTP/1.1 ${status} As before\r\ncontent-length: ${name.length}\r\n\r\n${name}`);
  };
  if (afterMs === 0) send();
  else setTimeout(send, afterMs);
}

function tell(lie: Lie, arrival: Arrival, socket: Socket): void {
  arrival.accepted = lie.accepted;
  arrival.status = lie.accepted === true ? lie.status : null;
  lie.tell(socket);
}

function arrivalOf({ url = '/', headers }: IncomingMessage): Arrival {
  return {
    path: url,
    deliveryId: headers['x-webhook-delivery'] as string,
    attemptNumber: Number(headers['x-webhook-attempt']),
    webhookId: headers['webhook-id'] as string,
    body: null,
    at: Date.now(),
    status: null,
    accepted: false,
  };
}
