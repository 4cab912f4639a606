import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** What the server does when a request (its head and 1 KiB of body at most) has come in. */
export type Behaviour = (socket: Socket, request: string) => void;

/** A TCP server on 127.0.0.1 that speaks as much HTTP as a test writes out, and remembers what it got. */
export class LoopbackServer {
  readonly requests: string[] = [];
  readonly open = new Set<Socket>();
  connections = 0;
  private readonly server: Server;

  constructor(private readonly behave: Behaviour) {
    this.server = createServer((socket) => this.accept(socket));
  }

  static async start(behave: Behaviour): Promise<LoopbackServer> {
    const server = new LoopbackServer(behave);
    server.server.listen(0, '127.0.0.1');
    await once(server.server, 'listening');
    return server;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  async stop(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(socket: Socket): void {
    this.connections += 1;
    this.open.add(socket);
    socket.on('close', () => this.open.delete(socket));
    socket.on('error', () => undefined);
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      const [head = '', body] = received.split('\r\n\r\n');
      const isTls = received.startsWith('\x16');
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (!isTls && (body === undefined || body.length < length)) return;
      this.requests.push(received);
      this.behave(socket, received);
      received = '';
    });
  }
}

/** Answers every request with this status, these header lines and this body. */
export function answer(status: number, headers: string[] = [], body: Buffer | string = ''): Behaviour {
  const bytes = Buffer.from(body);
  const length = status === 204 ? [] : [`content-length: ${bytes.length}`];
  const head = [`HTTP/1.1 ${status} Whatever`, ...length, ...headers, '', ''].join('\r\n');
  return (socket) => {
    socket.write(Buffer.concat([Buffer.from(head, 'latin1'), bytes]));
  };
}

/** Sends the bytes again and again, as fast as they are taken or one chunk each interval, until dropped. */
export function endless(head: string, chunk: Buffer, intervalMs = 0): Behaviour {
  return (socket) => {
    socket.write(head);
    const again = () => {
      if (socket.destroyed) return;
      socket.write(chunk, () => setTimeout(again, intervalMs));
    };
    again();
  };
}
