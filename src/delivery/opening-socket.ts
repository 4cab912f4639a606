import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** The socket that is being opened at the moment, so that it can be given up at any time. */
export class OpeningSocket {
  isGivenUp = false;
  private socket: Socket | null = null;

  /** TCP is there, and TLS is not. */
  get isHandshake(): boolean {
    return this.socket instanceof TLSSocket;
  }

  /**
   * Waits until it is open.
   * @throws its error, or that of what is below it, by rejecting
   */
  until(socket: Socket, event: 'connect' | 'secureConnect', below?: Socket): Promise<void> {
    this.socket = socket;
    return new Promise((resolve, reject) => {
      // These stay for good: a socket without a listener would throw.
      socket.on('error', reject);
      below?.on('error', reject);
      socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
      socket.once(event, () => resolve());
      if (this.isGivenUp) socket.destroy();
    });
  }

  giveUp(): void {
    this.isGivenUp = true;
    this.socket?.destroy();
  }
}
